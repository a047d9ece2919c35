"""The HTTP half of the client: refusals and outages become one failed call, never a broken session.

The SDK's transport reports an HTTP refusal as "Server returned an error response" and lets a network error tear the
whole session down. `HttpClient` answers in the network's stead with a JSON-RPC error that carries what happened, so
that the call it belongs to fails alone; `as_client_error` turns it into an exception of `moorage.client.errors`.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

import httpx2
from mcp import MCPError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

from moorage.client.errors import (
    CallTimeoutError,
    ClientError,
    ProtocolError,
    RefusedError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
)

_OUTAGE = "moorage.client/outage"
"""The member of an error's data that marks it as written by this module."""

_PROTOCOL_STATUSES = frozenset({400, 404, 405, 500})
"""Statuses that the protocol itself uses: their bodies belong to the SDK."""

_REFUSED_FOR_NOW = -32012
_UNAVAILABLE = frozenset({429, 502, 503, 504})
_CLOSE_SECONDS = 5.0


class HttpClient(httpx2.AsyncClient):
    """An `httpx2.AsyncClient` that never raises for an outage and explains each refusal."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send; a network error or a refusal comes back as a response with a JSON-RPC error."""
        if request.method == "DELETE":  # closing a session is a courtesy, nobody waits long for it
            request.extensions["timeout"] = httpx2.Timeout(_CLOSE_SECONDS).as_dict()
        try:
            response = await super().send(request, **options)
            if request.method != "POST" or response.status_code < 400 or response.status_code in _PROTOCOL_STATUSES:
                return response
            try:
                text = _server_words(await response.aread())
            finally:
                await response.aclose()
        except httpx2.TransportError as error:
            return _answer(request, 503, {"reason": str(error) or type(error).__name__})
        return _answer(request, response.status_code, {"status": response.status_code, "reason": text}, response.headers.get("retry-after"))


def _answer(request: httpx2.Request, status: int, outage: dict[str, Any], retry_after: str | None = None) -> httpx2.Response:
    data = {_OUTAGE: outage | {"retry_after": retry_after}}
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": CONNECTION_CLOSED, "message": outage["reason"] or "refused", "data": data}}
    return httpx2.Response(status, json=body, request=request)


def _server_words(body: bytes) -> str:
    """The message of the server's JSON-RPC error, or nothing: a proxy's HTML page is no message."""
    try:
        return str(json.loads(body)["error"]["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return ""


def as_client_error(error: MCPError, url: str, deadline_seconds: float) -> ClientError:
    """Say what an SDK error means for the caller of `url`."""
    data = cast("object", error.data)
    outage = cast("dict[str, Any]", data).get(_OUTAGE) if isinstance(data, dict) else None
    if outage is not None:
        return _outage(outage, url)
    if error.code == REQUEST_TIMEOUT:
        return CallTimeoutError(f"{url} did not answer within {deadline_seconds:g} s")
    if error.code == CONNECTION_CLOSED:
        return UnreachableError(f"{url}: the connection was closed before the answer was complete ({error.message})")
    if error.code == _REFUSED_FOR_NOW:  # within a session a server of ours refuses under HTTP 200
        seconds = cast("dict[str, Any]", data).get("retryAfterSeconds") if isinstance(data, dict) else None
        return UnavailableError(f"{url} cannot serve now: {error.message}", 200, float(seconds) if isinstance(seconds, int) else None)
    return ProtocolError(error.message, error.code, cast("object", data))


def _outage(outage: Mapping[str, Any], url: str) -> ClientError:
    status, reason = outage.get("status"), outage["reason"]
    if status is None:
        return UnreachableError(f"{url} cannot be reached: {reason}")
    said = f": {reason}" if reason else ""
    if status == 401:
        return UnauthorizedError(f"{url} refused the key (HTTP 401){said}. Give connect() a valid token=", status)
    if status == 403:
        return UnauthorizedError(f"{url} does not allow this (HTTP 403){said}", status)
    if status == 421:
        return RefusedError(
            f"{url}: the server does not answer to this host name (HTTP 421){said}. Allow it in security.allowed_hosts", status
        )
    if status in _UNAVAILABLE:
        return UnavailableError(f"{url} cannot serve now (HTTP {status}){said}", status, _seconds(outage.get("retry_after")))
    return RefusedError(f"{url} refused the request (HTTP {status}){said}", status)


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None

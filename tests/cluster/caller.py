"""A client that stands outside the cluster and speaks to the ingress by the service's public name.

The name resolves nowhere: connections go to the ingress address, while SNI, certificate check and Host header keep the name, as with
``curl --connect-to``. Exchanges are written out by hand here, so that a test can look at each byte of a stream and at each refusal.
"""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2

from tests.cluster.authority import Authority
from tests.cluster.target import Target

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
PATIENCE_SECONDS = 30.0
NOT_YET = (404, 502, 503)
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "cluster-tests", "version": "1.0.0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class ConnectTo(httpx2.AsyncHTTPTransport):
    """Connects to one address, whatever the URL says."""

    def __init__(self, address: tuple[str, int], trust: ssl.SSLContext) -> None:
        super().__init__(verify=trust)
        self._host, self._port = address

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request; the caller's own request object keeps its URL, which cookies are bound to."""
        url = request.url.copy_with(host=self._host, port=self._port)
        extensions = {**request.extensions, "sni_hostname": request.url.host}
        sent = httpx2.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)
        return await super().handle_async_request(sent)


class Caller:
    """Makes MCP calls in both eras and keeps cookies, as a browser does."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self._ids = itertools.count(1)

    def request(self, method: str, params: dict[str, Any], *, headers: dict[str, str] | None = None) -> httpx2.Request:
        """A request of the modern era, with the headers that have to agree with the body."""
        body = self._message(method, {"_meta": META, **params})
        named = {"mcp-name": str(params["name"])} if "name" in params else {}
        era = {"mcp-protocol-version": MODERN, "mcp-method": method, **named}
        return self.http.build_request("POST", "/mcp", json=body, headers={**era, **(headers or {})})

    def call_request(self, tool: str, *, progress: str | None = None, **arguments: Any) -> httpx2.Request:
        """A modern ``tools/call``; with a progress token the answer is a stream."""
        meta = META if progress is None else {**META, "progressToken": progress}
        return self.request("tools/call", {"name": tool, "arguments": arguments, "_meta": meta})

    async def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool in the modern era and return its structured result."""
        return structured(await self.http.send(self.call_request(tool, **arguments)))

    @asynccontextmanager
    async def stream(self, request: httpx2.Request) -> AsyncIterator[tuple[httpx2.Response, AsyncIterator[dict[str, Any]]]]:
        """Send a request and hand out the messages of its answer one by one, as they arrive."""
        response = await self.http.send(request, stream=True)
        try:
            yield response, messages(response)
        finally:
            await response.aclose()

    async def legacy(self, method: str, params: dict[str, Any] | None = None, *, session: str | None = None) -> httpx2.Response:
        """One POST of the handshake era: a request, or a notification where the method is one."""
        headers = {"mcp-session-id": session, "mcp-protocol-version": LEGACY} if session else {}
        body = self._message(method, params or {})
        if method.startswith("notifications/"):
            del body["id"]
        return await self.http.post("/mcp", json=body, headers=headers)

    async def initialize(self) -> str:
        """The handshake; returns the session's id."""
        client = {"name": "cluster-tests", "version": "1.0.0"}
        opened = await self.legacy("initialize", {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client})
        assert result(opened)["protocolVersion"] == LEGACY
        session = opened.headers["mcp-session-id"]
        accepted = await self.legacy("notifications/initialized", session=session)
        assert accepted.status_code == 202, accepted.text
        return session

    def _message(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}


@asynccontextmanager
async def caller(
    address: tuple[str, int], trust: ssl.SSLContext, host: str, token: str | None, *, host_header: str | None = None
) -> AsyncIterator[Caller]:
    """A caller with connections and cookies of its own."""
    headers = {"accept": "application/json, text/event-stream"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    if host_header:
        headers["host"] = host_header
    transport = ConnectTo(address, trust)
    async with httpx2.AsyncClient(base_url=f"https://{host}", transport=transport, headers=headers, timeout=PATIENCE_SECONDS) as http:
        yield Caller(http)


async def published(target: Target, authority: Authority, host: str) -> None:
    """Wait until the ingress controller has taken up host and certificate: it follows the API server at its own pace."""
    with anyio.fail_after(60):
        while True:
            async with caller(target.ingress, authority.trust(), host, token=None) as one:
                try:
                    if (await one.http.post("/mcp", json={})).status_code not in NOT_YET:
                        return
                except httpx2.TransportError:
                    pass  # the controller still shows its own certificate
            await anyio.sleep(0.2)


async def messages(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON-RPC messages of an event stream; comments and empty events are not messages."""
    async for event in httpx2.EventSource(response):
        if event.data:
            yield json.loads(event.data)


def result(response: httpx2.Response) -> Any:
    """The ``result`` of an answer that was read to its end, as JSON or as a stream."""
    assert response.status_code == 200, f"{response.status_code} {response.text}"
    if response.headers["content-type"].startswith("text/event-stream"):
        data = [line.removeprefix("data:") for line in response.text.splitlines() if line.startswith("data:")]
        answer = json.loads(next(d for d in reversed(data) if d.strip()))
    else:
        answer = response.json()
    assert "result" in answer, answer
    return answer["result"]


def structured(response: httpx2.Response) -> Any:
    """The structured content of a tool's result."""
    found = result(response)
    assert not found.get("isError"), found
    return found["structuredContent"]["result"]

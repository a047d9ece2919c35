"""How one exchange of the modern era is written down: the smallest words that make the tables in ``cases/`` readable.

``case("sentence", call("add", a=1, b=2))`` is a well-formed call with the headers a conforming client sends. Keywords change one
thing: ``headers={"mcp-name": None}`` takes a header away, ``raw=b"..."`` replaces the body's bytes, ``extra=`` adds header lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .wire import Request

VERSION = "2026-07-28"
PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion"
CLIENT_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"

META: Mapping[str, Any] = {
    PROTOCOL_VERSION: VERSION,
    CLIENT_CAPABILITIES: {"elicitation": {}},
    CLIENT_INFO: {"name": "comparison", "version": "1.0"},
}

ServerName = Literal["everyday", "guarded", "lowlevel"]
Headers = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Case:
    """One exchange, and the server it is played to."""

    id: str
    request: Request
    server: ServerName = "everyday"


def meta(*without: str, **extra: Any) -> dict[str, Any]:
    """The envelope, less some keys, plus others."""
    return {key: value for key, value in {**META, **extra}.items() if key not in without}


def envelope(**changed: Any) -> dict[str, Any]:
    """The envelope with a different ``version``, ``capabilities``, ``info`` or ``log_level``."""
    keys = {"version": PROTOCOL_VERSION, "capabilities": CLIENT_CAPABILITIES, "info": CLIENT_INFO, "log_level": LOG_LEVEL}
    return {**META, **{keys[name]: value for name, value in changed.items()}}


def rpc(method: str, params: Mapping[str, Any] | None = None, *, _meta: Any = META, _id: Any = 1, **more: Any) -> dict[str, Any]:
    """A JSON-RPC request of any method."""
    return {"jsonrpc": "2.0", "id": _id, "method": method, "params": {"_meta": _meta, **(params or {}), **more}}


def call(_tool: Any, _meta: Any = META, _id: Any = 1, _params: Mapping[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    """A ``tools/call``; ``_params`` sets or replaces members of ``params`` itself."""
    return rpc("tools/call", {"name": _tool, "arguments": arguments, **(_params or {})}, _meta=_meta, _id=_id)


def conforming_headers(body: Any) -> dict[str, str]:
    """What a client that follows the specification sends with this body."""
    headers = {
        "host": "127.0.0.1:8000",
        "user-agent": "comparison/1.0",
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-protocol-version": VERSION,
    }
    if not isinstance(body, dict):
        return headers
    headers["mcp-method"] = str(body.get("method", ""))
    params = body.get("params")
    name = (params.get("name") or params.get("uri")) if isinstance(params, dict) else None
    if isinstance(name, str) and name.isascii():
        headers["mcp-name"] = name
    return headers


def case(
    sentence: str,
    body: Any = None,
    *,
    raw: bytes | None = None,
    headers: Headers | None = None,
    extra: Sequence[tuple[str, str]] = (),
    method: str = "POST",
    path: str = "/mcp",
    pieces: int = 1,
    server: ServerName = "everyday",
) -> Case:
    """Write one exchange down; without a body it is the plainest call there is."""
    body = call("add", a=1, b=2) if body is None else body
    data = raw if raw is not None else json.dumps(body, separators=(",", ":")).encode()
    wanted = {**conforming_headers(body), "content-length": str(len(data)), **(headers or {})}
    lines = [(name, value) for name, value in wanted.items() if value is not None] + list(extra)
    step = max(1, -(-len(data) // pieces))
    body_pieces = tuple(data[start : start + step] for start in range(0, len(data), step)) or (b"",)
    encoded = tuple((name.encode(), value.encode("latin-1")) for name, value in lines)
    return Case(sentence, Request(method, path, encoded, body_pieces), server)

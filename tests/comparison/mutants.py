"""Ways to break an application on purpose; each is a mistake that a fast endpoint is likely to make.

A comparison is worth what it notices. Every mutant names an exchange that must give it away.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from mcp.server.mcpserver import MCPServer, RequestStateBoundary

from .case import META
from .servers import Built
from .wire import App, Message

Headers = list[tuple[bytes, bytes]]
ChangedRequest = tuple[dict[str, Any], bytes]
ChangedResponse = tuple[int, Headers, bytes]


def _nothing(built: Built) -> None:
    """Leave the server as it is."""


def _same(app: App) -> App:
    return app


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake: what it does to the server or the application, and one exchange that must notice it."""

    name: str
    noticed_by: str
    server: Callable[[Built], None] = _nothing
    app: Callable[[App], App] = _same


def on_requests(change: Callable[[dict[str, Any], bytes], ChangedRequest]) -> Callable[[App], App]:
    """A mistake made with the request: its scope and its whole body."""

    def wrap(app: App) -> App:
        async def broken(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            scope, body = change(scope, body)
            first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

            async def replay() -> Message:
                return first.pop() if first else await receive()

            return await app(scope, replay, send)

        return broken

    return wrap


def on_responses(change: Callable[[int, Headers, bytes], ChangedResponse]) -> Callable[[App], App]:
    """A mistake made with the whole response."""

    def wrap(app: App) -> App:
        async def broken(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            start: list[Message] = []
            chunks: list[bytes] = []

            async def collect(message: Message) -> None:
                if message["type"] == "http.response.start":
                    start.append(message)
                    return
                chunks.append(message.get("body", b""))
                if not message.get("more_body", False):
                    status, headers, body = change(start[0]["status"], list(start[0]["headers"]), b"".join(chunks))
                    headers = [(name, str(len(body)).encode() if name == b"content-length" else value) for name, value in headers]
                    await send({"type": "http.response.start", "status": status, "headers": headers})
                    await send({"type": "http.response.body", "body": body, "more_body": False})

            return await app(scope, receive, collect)

        return broken

    return wrap


def _orjson(scope: dict[str, Any], body: bytes) -> ChangedRequest:
    try:
        return scope, json.dumps(orjson.loads(body)).encode()
    except orjson.JSONDecodeError:
        return scope, body


def _any_envelope(scope: dict[str, Any], body: bytes) -> ChangedRequest:
    try:
        decoded = json.loads(body)
        decoded["params"]["_meta"] = {**META, **decoded["params"]["_meta"], **META}
    except (ValueError, TypeError, KeyError, RecursionError):
        return scope, body
    return scope, json.dumps(decoded).encode()


def _last_header_wins(scope: dict[str, Any], body: bytes) -> ChangedRequest:
    return {**scope, "headers": list(dict(scope["headers"]).items())}, body


def _without_header(name: bytes) -> Callable[[dict[str, Any], bytes], ChangedRequest]:
    def drop(scope: dict[str, Any], body: bytes) -> ChangedRequest:
        return {**scope, "headers": [line for line in scope["headers"] if line[0] != name]}, body

    return drop


def _trusts_the_body(scope: dict[str, Any], body: bytes) -> ChangedRequest:
    try:
        name = json.loads(body)["params"]["name"].encode("latin-1")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return scope, body
    return {**scope, "headers": [(key, name if key == b"mcp-name" else value) for key, value in scope["headers"]]}, body


def _latin(scope: dict[str, Any], body: bytes) -> ChangedRequest:
    return scope, body.decode("utf-8", "replace").encode()


def _only_the_result(status: int, headers: Headers, body: bytes) -> ChangedResponse:
    if (b"content-type", b"text/event-stream") not in headers:
        return status, headers, body
    last = body.decode().strip().split("\r\n")[-1].removeprefix("data: ").encode()
    return status, [(b"content-type", b"application/json"), (b"content-length", b"0")], last


def _always_200(status: int, headers: Headers, body: bytes) -> ChangedResponse:
    return 200 if status == 404 else status, headers, body


def _without_nulls(status: int, headers: Headers, body: bytes) -> ChangedResponse:
    def drop(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: drop(item) for key, item in value.items() if item is not None}
        return [drop(item) for item in value] if isinstance(value, list) else value

    return status, headers, json.dumps(drop(json.loads(body))).encode() if body.startswith(b"{") else body


def _unsealed(built: Built) -> None:
    if isinstance(built.server, MCPServer):
        middleware = built.server.middleware
        middleware[:] = [item for item in middleware if not isinstance(item, RequestStateBoundary)]


def _unguarded(built: Built) -> None:
    if isinstance(built.server, MCPServer):
        middleware = built.server.middleware
        middleware[:] = [item for item in middleware if not dataclasses.is_dataclass(item)]


def _without_a_tool(built: Built) -> None:
    if isinstance(built.server, MCPServer):
        built.server.remove_tool("image_block")


MUTANTS = (
    Mutant("decodes with orjson", "integers beyond 64 bits stay exact", app=on_requests(_orjson)),
    Mutant("skips the envelope's validation", "capabilities that are a string are refused", app=on_requests(_any_envelope)),
    Mutant("takes the last of two headers", "two name headers are refused", app=on_requests(_last_header_wins)),
    Mutant("trusts the body's name", "another name in the header is a mismatch", app=on_requests(_trusts_the_body)),
    Mutant("forgets the mirrored headers", "a mirrored argument agrees", app=on_requests(_without_header(b"mcp-param-region"))),
    Mutant("forgets a header that tools may read", "a tool sees who calls", app=on_requests(_without_header(b"user-agent"))),
    Mutant("repairs a body that is no UTF-8", "a body that is no UTF-8", app=on_requests(_latin)),
    Mutant("sends the result only", "progress comes before the result", app=on_responses(_only_the_result)),
    Mutant("forgets a status", "an unknown method", app=on_responses(_always_200)),
    Mutant("drops nulls", "a protocol error of a tool goes out", app=on_responses(_without_nulls)),
    Mutant("leaks the request state", "a question made by hand is sealed", server=_unsealed),
    Mutant("passes middleware by", "middleware adds to a result", server=_unguarded),
    Mutant("serves another list of tools", "the tools are listed", server=_without_a_tool),
)

"""A client of the session era that writes down everything it gets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.comparison.answer import canonical, parse_events
from tests.comparison.case import ServerName
from tests.comparison.servers import Notes
from tests.comparison.wire import App, Exchange, Request, play

EVERY_ERA = ("2025-03-26", "2025-06-18", "2025-11-25")
SERVER_ID = "<id of the server>"
INVALID_REQUEST = -32600
CAPABILITIES: Mapping[str, Any] = {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}}

Reply = Callable[[dict[str, Any]], dict[str, Any]]


def rpc(method: str, params: Mapping[str, Any] | None = None, *, _id: Any = 1) -> dict[str, Any]:
    """A request."""
    return {"jsonrpc": "2.0", "id": _id, "method": method, **({} if params is None else {"params": params})}


def note(method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A notification."""
    return {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}


def call(_tool: str, _id: Any = 1, _meta: Mapping[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    """A ``tools/call``."""
    return rpc("tools/call", {"name": _tool, "arguments": arguments, **({"_meta": _meta} if _meta else {})}, _id=_id)


@dataclass(slots=True)
class Client:
    """One client; ``transcript`` is what two applications are compared by.

    A refusal by HTTP is written down by its status and code alone: its words are an application's own, and where the SDK
    refuses in plain text it counts as an invalid request.
    """

    app: App
    notes: Notes
    version: str
    transcript: list[str] = field(default_factory=list)
    session: str | None = None
    negotiated: bool = False

    async def open(self, capabilities: Mapping[str, Any] = CAPABILITIES) -> None:
        """Initialize, and say so; neither is written down."""
        client = {"name": "comparison", "version": "1.0"}
        params = {"protocolVersion": self.version, "capabilities": capabilities, "clientInfo": client}
        await self.post(rpc("initialize", params, _id="open"))
        await self.post(note("notifications/initialized"))
        self.transcript.clear()

    def request(
        self, method: str, body: bytes = b"", headers: Mapping[str, str | None] | None = None, extra: Sequence[tuple[str, str]] = ()
    ) -> Request:
        """The headers that a conforming client sends at this point, with changes."""
        wanted: dict[str, str | None] = {
            "host": "127.0.0.1:8000",
            "accept": "text/event-stream" if method == "GET" else "application/json, text/event-stream",
            "content-type": "application/json" if method == "POST" else None,
            "content-length": str(len(body)) if method == "POST" else None,
            "mcp-session-id": self.session,
            "mcp-protocol-version": self.version if self.negotiated else None,
            **(headers or {}),
        }
        lines = [(name, value) for name, value in wanted.items() if value is not None] + list(extra)
        return Request(method, "/mcp", tuple((name.encode(), value.encode("latin-1")) for name, value in lines), (body,))

    async def post(
        self,
        message: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
        extra: Sequence[tuple[str, str]] = (),
    ) -> list[dict[str, Any]]:
        """Post one message, write the whole answer down, and give its messages."""
        body = json.dumps(message).encode() if raw is None else raw
        exchange = await play(self.app, self.request("POST", body, headers, extra))
        return self._write_down(exchange)

    async def send(self, method: str, headers: Mapping[str, str | None] | None = None) -> list[dict[str, Any]]:
        """A request without a body, with its whole answer."""
        return self._write_down(await play(self.app, self.request(method, headers=headers)))

    def begin(self, message: Any) -> Exchange:
        """Post one message whose answer is watched."""
        return Exchange(self.app, self.request("POST", json.dumps(message).encode()))

    async def converse(self, message: Any, reply: Reply) -> None:
        """Post one message; what the server asks on the stream is answered by posts of its own."""
        exchange = self.begin(message)
        async for received in self.messages(exchange):
            self.say(received)
            if "method" in received and "id" in received:
                await self.post({"jsonrpc": "2.0", "id": received["id"], **reply(received)})
        await exchange.finished()
        self.transcript.append(f"status {exchange.status}")

    async def messages(self, exchange: Exchange) -> AsyncIterator[dict[str, Any]]:
        """The messages of a response, as they arrive."""
        await exchange.started()
        pending = ""
        while (chunk := await exchange.next_chunk()) is not None:
            pending += chunk.decode().replace("\r\n", "\n")
            if b"content-type" in dict(exchange.headers) and dict(exchange.headers)[b"content-type"].startswith(b"application/json"):
                continue
            *whole, pending = pending.split("\n\n")
            for event in parse_events("\n\n".join(whole)):
                yield json.loads(event.data)
        if pending.strip():
            yield json.loads(pending)

    def say(self, message: Any) -> None:
        """Write a message down."""
        if isinstance(message, dict) and "method" in message and "id" in message:
            message = {**message, "id": SERVER_ID}
        self.transcript.append(canonical(message))

    def _write_down(self, exchange: Exchange) -> list[dict[str, Any]]:
        headers = {name.decode().lower(): value.decode() for name, value in exchange.headers}
        if self.session is None and exchange.status == 200:
            self.session = headers.get("mcp-session-id")
        media_type = headers.get("content-type", "")
        text = exchange.body.decode()
        if media_type.startswith("text/event-stream"):
            messages = [json.loads(event.data) for event in parse_events(text)]
        else:
            messages = [json.loads(text)] if media_type.startswith("application/json") and text else []
        assert exchange.status is not None, "the application returned without an answer"
        self.transcript.append(f"status {exchange.status}" + (f" allow {headers['allow']}" if "allow" in headers else ""))
        if exchange.status >= 400:
            self.transcript.append(f"refused {messages[0]['error']['code'] if messages else INVALID_REQUEST}")
            return messages
        for message in messages:
            self.say(message)
            if isinstance(message, dict) and "protocolVersion" in message.get("result", {}):
                self.negotiated = True
        return messages


Play = Callable[[Client], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Script:
    """What a client does, in which eras, whether the server has to be able to stream, and which server it is."""

    id: str
    play: Play
    eras: tuple[str, ...] = EVERY_ERA
    streams: bool = False
    server: ServerName = "everyday"

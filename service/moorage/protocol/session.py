"""A session of the handshake era: a record, not a running thing.

A session costs no task, no memory stream and no dispatcher: its requests run in the ASGI task that brought them, through the
SDK's `ServerRunner`, and its object is the connection's `Outbound`. What a server asks its client waits here as a future until a
POST brings the reply. Later work (sessions that outlive a process) re-creates this record from what it holds.

Source: MCP 2025-11-25, basic/transports, "Session Management"; docs/decisions/2026-11-22-legacy-sessions.md
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.shared.dispatcher import CallOptions, ProgressFnT, coerce_request_id
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

from moorage.protocol.call import Call
from moorage.protocol.encoding import PING, sse_event

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server

    from moorage.protocol.exchange import Header, HttpExchange
    from moorage.protocol.messages import ReplyMessage

_MAX_QUEUED_EVENTS: Final = 256
"""Events that a GET stream holds for a client that reads slowly; beyond, the stream is ended and the client opens a new one."""

RETRY: Final = b"retry: 1000\r\n\r\n"
"""Tells a client when to come back (milliseconds) after a stream that we end."""


class EventStream:
    """The standalone GET stream of a session: a bounded queue between whoever notifies and the one exchange that writes."""

    __slots__ = ("_queue", "ended")

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_MAX_QUEUED_EVENTS)
        self.ended = False

    def put(self, event: bytes) -> None:
        """Queue an event; a stream whose client has stopped reading is ended."""
        if self.ended:
            return
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.end()

    def end(self) -> None:
        """End the stream after what is queued (a full queue gives its oldest event up for the end mark)."""
        if self.ended:
            return
        self.ended = True
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def pump(self, http: HttpExchange, ping_seconds: float) -> None:
        """Write what is queued until the stream is ended, with a keep-alive in every silence."""
        while True:
            try:
                async with asyncio.timeout(ping_seconds):
                    event = await self._queue.get()
            except TimeoutError:
                event = PING
            if event is None:
                await http.write(RETRY, last=True)
                return
            await http.write(event)


@dataclass(slots=True)
class _Pending:
    """A request of ours that waits for the client's reply."""

    reply: asyncio.Future[ReplyMessage]
    on_progress: ProgressFnT | None


class SessionCall(Call):
    """A call within a session: it may ask the client back, and a client that leaves does not end it."""

    __slots__ = ("ended_because", "session")

    def __init__(self, session: Session, http: HttpExchange, request_id: str | int | None, token: str | int | None, **kwargs: Any) -> None:
        super().__init__(http, request_id, token, **kwargs)
        self.session = session
        self.ended_because: MCPError | None = None

    @property
    def can_send_request(self) -> bool:
        """In SSE mode, until the call is over."""
        return self.streams and not self.closed

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> dict[str, Any]:
        """Ask the client on this call's own response stream."""
        if not self.can_send_request:
            raise NoBackChannelError(method)
        return await self.session.ask(self.write, method, params, opts)

    async def open_stream(self) -> None:
        """The head names the session."""
        await self.http.open_stream([self.session.header])

    def client_left(self) -> None:
        """Leaving is no cancellation in this era ("Disconnection SHOULD NOT be interpreted as the client cancelling")."""
        self.client_gone = True

    def end(self, error: MCPError) -> None:
        """Interrupt the call; it is answered with this error."""
        self.ended_because = error
        self.cancel()


class Session:
    """One client's session, and the standalone channel to it."""

    __slots__ = ("_next_id", "_pending", "calls", "connection", "header", "id", "last_used", "opened", "owner", "runner", "stream")

    def __init__(self, server: Server[Any], lifespan_state: Any, owner: str, now: float) -> None:
        """Args: `owner` is the principal's name, `now` the loop's clock in seconds."""
        self.id = secrets.token_hex(16)
        self.header: Header = (b"mcp-session-id", self.id.encode())
        self.owner = owner
        self.opened = self.last_used = now
        self.calls: dict[str | int, SessionCall] = {}
        self.stream: EventStream | None = None
        self._pending: dict[str | int, _Pending] = {}
        self._next_id = 0
        self.connection = Connection.for_loop(self, session_id=self.id)
        self.runner: ServerRunner[Any] = ServerRunner(server, self.connection, lifespan_state)

    @property
    def in_use(self) -> bool:
        """Whether a client is connected to the session: an open stream, or a call whose client still waits."""
        return self.stream is not None or any(not call.client_gone for call in self.calls.values())

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Send a notification on the GET stream; without one it is dropped, as the protocol allows."""
        if self.stream is not None:
            message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
            if params is not None:
                message["params"] = dict(params)
            self.stream.put(sse_event(message))

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> dict[str, Any]:
        """Ask the client on the GET stream.

        Raises:
            NoBackChannelError: when none is open.
        """
        stream = self.stream
        if stream is None:
            raise NoBackChannelError(method)

        async def write(event: bytes) -> None:
            stream.put(event)

        return await self.ask(write, method, params, opts)

    async def ask(
        self, write: Callable[[bytes], Awaitable[None]], method: str, params: Mapping[str, Any] | None, opts: CallOptions | None
    ) -> dict[str, Any]:
        """Send a request to the client and wait for its reply.

        The wait is bounded by `opts["timeout"]`, and in any case by the session: it ends with `CONNECTION_CLOSED`.

        Raises:
            MCPError: the client's error, the time-out, or the session's end.
        """
        self._next_id += 1
        request_id, options = self._next_id, opts or {}
        pending = _Pending(asyncio.get_running_loop().create_future(), options.get("on_progress"))
        self._pending[request_id] = pending
        try:
            await write(sse_event(_request(request_id, method, params, with_progress=pending.on_progress is not None)))
            async with asyncio.timeout(options.get("timeout")):
                reply = await pending.reply
        except TimeoutError:
            cancelled = {"requestId": request_id, "reason": f"timed out after {options.get('timeout')}s"}
            await write(sse_event({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled}))
            raise MCPError(code=REQUEST_TIMEOUT, message=f"Request {method!r} timed out") from None
        finally:
            self._pending.pop(request_id, None)
        if reply.error is not None:
            raise MCPError(code=int(reply.error.get("code", 0)), message=str(reply.error.get("message", "")), data=reply.error.get("data"))
        return reply.result or {}

    def resolve(self, reply: ReplyMessage) -> bool:
        """Hand a reply to whoever waits for it; False when nobody does."""
        pending = self._pending.get(coerce_request_id(reply.id))
        if pending is None or pending.reply.done():
            return False
        pending.reply.set_result(reply)
        return True

    async def progressed(self, params: Mapping[str, Any]) -> None:
        """Hand a client's progress on a request of ours to whoever asked."""
        token = params.get("progressToken")
        pending = self._pending.get(coerce_request_id(cast("str | int", token))) if type(token) in (str, int) else None
        if pending is not None and pending.on_progress is not None:
            await pending.on_progress(params.get("progress", 0), params.get("total"), params.get("message"))

    async def close(self) -> None:
        """End everything that belongs to the session: calls, waits, stream, and what handlers left on its exit stack."""
        closed = MCPError(code=CONNECTION_CLOSED, message="The session has ended")
        for call in list(self.calls.values()):
            call.end(closed)
        for pending in list(self._pending.values()):
            if not pending.reply.done():
                pending.reply.set_exception(closed)
        if self.stream is not None:
            self.stream.end()
        await aclose_shielded(self.connection)


def _request(request_id: int, method: str, params: Mapping[str, Any] | None, *, with_progress: bool) -> dict[str, Any]:
    body = dict(params or {})
    if with_progress:
        body["_meta"] = {**(body.get("_meta") or {}), "progressToken": request_id}
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id, "method": method}
    if body:
        message["params"] = body
    return message

"""The handshake era (2025-11-25 and older): sessions, the GET stream, and requests from server to client.

moorage owns the sessions instead of wrapping the SDK's session manager: a call runs in the ASGI task that brought it, is answered
as JSON unless something was streamed, and a JSON-RPC id that is still in flight is refused instead of being overwritten.
Every refusal is in our words, carries the request's id where there is one, and leaves no session behind.

Source: MCP 2025-11-25, basic/transports, "Streamable HTTP"; docs/decisions/2026-11-22-legacy-sessions.md
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import structlog
from mcp.shared.dispatcher import as_request_id, coerce_request_id
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR, ErrorData
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from moorage.protocol.accept import Accepts
from moorage.protocol.call import InFlight
from moorage.protocol.encoding import decode_lenient, encode, sse_event
from moorage.protocol.exchange import RETRY_AFTER, HttpExchange
from moorage.protocol.messages import MalformedMessage, NotificationMessage, ReplyMessage, RequestMessage, classify
from moorage.protocol.session import EventStream, Session, SessionCall

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server

    from moorage.settings import HttpSettings, SessionSettings
    from moorage.telemetry.instruments import Instruments

HANDSHAKE_VERSIONS: Final = frozenset(version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS)
REQUEST_CANCELLED: Final = -32800
"""What this era answers a cancelled request with, since its stream may end only with a response (as the SDK does)."""

_REAP_EVERY: Final = 1.0

log = structlog.get_logger("moorage.protocol")


class LegacyEndpoint:
    """Serves the handshake-era requests of one SDK server, and owns its sessions."""

    def __init__(
        self, server: Server[Any], in_flight: InFlight, *, http: HttpSettings, sessions: SessionSettings, instruments: Instruments
    ) -> None:
        self._server = server
        self._in_flight = in_flight
        self._http = http
        self._limits = sessions
        self._instruments = instruments
        self._sessions: dict[str, Session] = {}
        self._owned: Counter[str] = Counter()
        self.open_streams = 0
        self._accepts = Accepts()
        self._lifespan_state: Any = None
        self._clock: Callable[[], float] = lambda: 0.0
        self.accepting = True

    def start(self, lifespan_state: Any, clock: Callable[[], float]) -> None:
        """The server's lifespan has begun."""
        self._lifespan_state = lifespan_state
        self._clock = clock

    async def serve(self, http: HttpExchange) -> None:
        """Answer one exchange; the body of a POST was read."""
        match http.scope["method"]:
            case "POST":
                await self._post(http)
            case "GET":
                await self._get(http)
            case "DELETE":
                await self._delete(http)
            case _:
                message = "Method not allowed: use POST, GET or DELETE"
                await http.respond_error(405, INVALID_REQUEST, message, headers=[(b"allow", b"GET, POST, DELETE")])

    async def _post(self, http: HttpExchange) -> None:
        if not await self._acceptable(http):
            return
        try:
            message = classify(decode_lenient(http.body))
        except (ValueError, RecursionError):
            await http.respond_error(400, PARSE_ERROR, "Parse error: the body is not JSON")
            return
        match message:
            case MalformedMessage(reason, request_id):
                await http.respond_error(400, INVALID_REQUEST, reason, request_id=request_id)
            case RequestMessage(method="initialize") if b"mcp-session-id" not in http.headers:
                await self._open(http, message)
            case _:
                session = await self._session(http, message.id if isinstance(message, RequestMessage) else None)
                if session is not None:
                    await self._dispatch(http, session, message)
                    session.last_used = self._clock()

    async def _acceptable(self, http: HttpExchange) -> bool:
        json, sse = self._accepts(http.headers.get(b"accept"))
        if not json or not (sse or self._http.json_responses):
            wanted = "application/json" if self._http.json_responses else "application/json and text/event-stream"
            await http.respond_error(406, INVALID_REQUEST, f"Not acceptable: the Accept header must name {wanted}")
            return False
        content_type = (http.headers.get(b"content-type") or b"").strip().lower()
        if content_type.partition(b";")[0].strip() != b"application/json":
            await http.respond_error(400, INVALID_REQUEST, "Content-Type must be application/json")
            return False
        return True

    # Sessions

    async def _session(self, http: HttpExchange, request_id: str | int | None) -> Session | None:
        """The session that the request names; else it is refused. A stranger's session is as good as none."""
        name = http.headers.get(b"mcp-session-id", b"").strip().decode("latin-1")
        if not name:
            await http.respond_error(400, INVALID_REQUEST, "Bad request: missing Mcp-Session-Id header", request_id=request_id)
            return None
        session = self._sessions.get(name)
        if session is None or session.owner != _owner(http):
            message = "Session not found: it has ended or never was; initialize a new one"
            await http.respond_error(404, INVALID_REQUEST, message, request_id=request_id)
            return None
        http.session_id = name
        session.last_used = self._clock()
        return session

    async def _open(self, http: HttpExchange, message: RequestMessage) -> None:
        """Answer `initialize`; the session exists once that succeeded."""
        owner = _owner(http)
        if (refusal := self._refuses_session_of(owner)) is not None:
            await http.respond_error(503, INTERNAL_ERROR, refusal, request_id=message.id, headers=[RETRY_AFTER])
            return
        session = Session(self._server, self._lifespan_state, owner, self._clock())
        http.session_id = session.id
        answer = await self._run(http, session, message)
        if "result" in answer:
            self._sessions[session.id] = session
            self._owned[owner] += 1
            self._instruments.session_opened(session.connection.protocol_version)
            await self._respond(http, session, answer)
        else:
            await session.close()
            http.session_id = None
            await http.respond(200, encode(answer))

    def _refuses_session_of(self, owner: str) -> str | None:
        if not self.accepting:
            return "The server is shutting down: initialize again, and another replica will answer"
        if len(self._sessions) >= self._limits.max_sessions:
            return "Too many open sessions"
        if self._owned[owner] >= self._limits.max_sessions_per_principal:
            return "Too many open sessions of this principal"
        return None

    async def _delete(self, http: HttpExchange) -> None:
        session = await self._session(http, None)
        if session is not None:
            await self._end(session)
            await http.respond(200)

    async def _end(self, session: Session) -> None:
        if self._sessions.pop(session.id, None) is not None:
            self._owned[session.owner] -= 1
            if not self._owned[session.owner]:
                del self._owned[session.owner]
            self._instruments.session_closed(session.connection.protocol_version, self._clock() - session.opened)
            await session.close()

    async def reap_forever(self) -> None:
        """End the sessions that nobody has used for `sessions.idle_timeout_seconds`."""
        while True:
            await asyncio.sleep(_REAP_EVERY)
            latest = self._clock() - self._limits.idle_timeout_seconds
            for session in list(self._sessions.values()):
                if session.last_used < latest and not session.in_use:
                    await self._end(session)

    @property
    def open_sessions(self) -> int:
        """How many sessions there are."""
        return len(self._sessions)

    def end_streams(self) -> None:
        """End every GET stream with a hint to come back: the drain moves clients to another replica."""
        for session in self._sessions.values():
            if session.stream is not None:
                session.stream.end()

    async def close(self) -> None:
        """End every session: the process ends."""
        for session in list(self._sessions.values()):
            await self._end(session)

    # Messages

    async def _dispatch(self, http: HttpExchange, session: Session, message: RequestMessage | NotificationMessage | ReplyMessage) -> None:
        match message:
            case RequestMessage():
                if coerce_request_id(message.id) in session.calls:
                    reason = f"Request id {message.id!r} is already in flight in this session"
                    await http.respond_error(400, INVALID_REQUEST, reason, request_id=message.id)
                    return
                await self._respond(http, session, await self._run(http, session, message))
            case NotificationMessage():
                await http.respond(202, headers=[session.header])
                await self._notified(http, session, message)
            case ReplyMessage():
                if not session.resolve(message):
                    log.debug("mcp.reply_unexpected")
                await http.respond(202, headers=[session.header])

    async def _notified(self, http: HttpExchange, session: Session, message: NotificationMessage) -> None:
        params = message.params or {}
        if message.method == "notifications/cancelled":
            request_id = as_request_id(params.get("requestId"))
            call = session.calls.get(coerce_request_id(request_id)) if request_id is not None else None
            if call is not None:
                call.end(MCPError(code=REQUEST_CANCELLED, message="Request cancelled"))
        elif message.method == "notifications/progress":
            await session.progressed(params)
        call = SessionCall(session, http, None, None, streams=False, now=self._clock())
        await session.runner.on_notify(cast("Any", call), message.method, message.params)

    async def _run(self, http: HttpExchange, session: Session, message: RequestMessage) -> dict[str, Any]:
        """Run one request to its JSON-RPC answer."""
        token = _progress_token(message.params)
        call = SessionCall(session, http, message.id, token, streams=not self._http.json_responses, now=self._clock())
        key = coerce_request_id(message.id)
        session.calls[key] = call
        try:
            answer = await self._in_flight.run(call, self._answer(session, call, message))
        finally:
            del session.calls[key]
        if answer is not None:
            return answer
        ended = call.ended_because or MCPError(code=CONNECTION_CLOSED, message="The server is shutting down")
        return _error(message.id, ended.error)

    async def _answer(self, session: Session, call: SessionCall, message: RequestMessage) -> dict[str, Any]:
        try:
            result = await session.runner.on_request(cast("Any", call), message.method, message.params)
        except Exception as error:  # boundary: a handler's exception becomes its JSON-RPC error
            known = handler_exception_to_error_data(error)
            if known is None:
                log.exception("mcp.handler_failed", method=message.method)
                known = ErrorData(code=INTERNAL_ERROR, message="Internal server error")
            return _error(message.id, known)
        return {"jsonrpc": "2.0", "id": message.id, "result": result}

    @staticmethod
    async def _respond(http: HttpExchange, session: Session, answer: dict[str, Any]) -> None:
        if http.streaming:
            await http.write(sse_event(answer), last=True)
        else:
            await http.respond(200, encode(answer), [session.header])

    # The GET stream

    async def _get(self, http: HttpExchange) -> None:
        if not self._accepts(http.headers.get(b"accept")).sse:
            await http.respond_error(406, INVALID_REQUEST, "Not acceptable: the Accept header must name text/event-stream")
            return
        session = await self._session(http, None)
        if session is None:
            return
        if b"last-event-id" in http.headers:
            message = "Last-Event-ID cannot be honoured: this deployment keeps no event log; open a stream without it"
            await http.respond_error(400, INVALID_REQUEST, message)
            return
        if not self.accepting or self.open_streams + self._in_flight.streams >= self._limits.max_streams:
            await http.respond_error(503, INTERNAL_ERROR, "No further stream can be opened here now", headers=[RETRY_AFTER])
            return
        await self._stream(http, session)
        session.last_used = self._clock()

    async def _stream(self, http: HttpExchange, session: Session) -> None:
        """Serve the stream; of two streams of one session the newer stays, because the older is what a client lost."""
        if session.stream is not None:
            session.stream.end()
        stream = session.stream = EventStream()
        self.open_streams += 1
        http.observed.streaming("get")

        async def leave(scope: anyio.CancelScope) -> None:
            await http.disconnected()
            scope.cancel()

        try:
            await http.open_stream([session.header])
            await http.write(b": open\r\n\r\n")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(leave, tasks.cancel_scope)
                await stream.pump(http, self._http.ping_seconds)
                tasks.cancel_scope.cancel()
        finally:
            stream.ended = True
            self.open_streams -= 1
            if session.stream is stream:
                session.stream = None


def _owner(http: HttpExchange) -> str:
    """The name that a session belongs to; nobody's name is empty."""
    return http.principal.name if http.principal is not None and not http.principal.anonymous else ""


def _progress_token(params: dict[str, Any] | None) -> str | int | None:
    match params:
        case {"_meta": {"progressToken": str() | int() as token}} if type(token) is not bool:
            return token
        case _:
            return None


def _error(request_id: str | int, error: ErrorData) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "error": error.model_dump(mode="json", by_alias=True, exclude_unset=True)}

"""The handshake era (2025-11-25 and older): whose session a request is of, its beginning and its end; `get_stream` has the streams.

moorage owns the sessions instead of wrapping the SDK's session manager: a call runs in the ASGI task that brought it, is answered
as JSON unless something was streamed, and a JSON-RPC id that is still in flight is refused instead of being overwritten.
A session belongs to the deployment: `home` finds it or sends the request to its owner. Every refusal is in our words, carries the
request's id where there is one, and leaves no session behind.

Source: MCP 2025-11-25, basic/transports, "Streamable HTTP"; docs/decisions/2026-11-22-legacy-sessions.md, 2026-11-24-ownership.md
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from mcp_types import INVALID_REQUEST, PARSE_ERROR
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from moorage.lifecycle.heap import give_back
from moorage.protocol.accept import Accepts
from moorage.protocol.boundary import answer_failed
from moorage.protocol.budgets import Budgets
from moorage.protocol.connection import described_by, negotiated
from moorage.protocol.dispatch import Addressed, Dispatcher, error_answer
from moorage.protocol.encoding import decode_lenient, encode, encode_answer, sse_frame
from moorage.protocol.exchange import HttpExchange
from moorage.protocol.feed import Feed, outcome_unknown
from moorage.protocol.get_stream import GetStreams
from moorage.protocol.home import Gone, Home, IsAlive, Passed
from moorage.protocol.messages import MalformedMessage, RequestMessage, classify
from moorage.protocol.refusals import CLOSING, MOVED, OWNER_SILENT, Refusal, of_store, refuse
from moorage.protocol.routing import contradiction, repeated
from moorage.protocol.session import Session, Surroundings
from moorage.protocol.subscriptions import Subscriptions
from moorage.sessions.identity import ClientTooLarge, SessionIds, SessionRecord
from moorage.store.outage import StoreUnavailable
from moorage.store.sessions import Fenced, Held, Owned
from moorage.telemetry.redaction import forget_digests

if TYPE_CHECKING:
    from moorage.settings import HttpSettings
    from moorage.telemetry.instruments import Instruments

HANDSHAKE_VERSIONS: Final = frozenset(version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS)
_MOST_HOPS: Final = 4
"""How often a request looks for its session's owner before the client is asked to come again."""

Forward = Callable[[Held, HttpExchange], Awaitable[Passed]]


class LegacyEndpoint:
    """Serves the handshake-era requests of one SDK server.

    Attributes:
        home: Where the sessions are.
        closing: Whether no call begins any more, because the drain is nearly over.
    """

    def __init__(
        self,
        around: Surroundings,
        home: Home,
        ids: SessionIds,
        budgets: Budgets,
        *,
        http: HttpSettings,
        dispatcher: Dispatcher,
        instruments: Instruments,
        clock: Callable[[], float],
        forward: Forward | None = None,
        is_alive: IsAlive | None = None,
    ) -> None:
        """Args: `forward` and `is_alive` reach other owners; None without a store."""
        self._around = around
        self.home = home
        self._ids = ids
        self._budgets = budgets
        self._http = http
        self._dispatcher = dispatcher
        self._instruments = instruments
        self._streams = GetStreams(home, budgets, instruments)
        self._clock = clock
        self._forward = forward
        self._is_alive = is_alive
        self._generation = ids.generation
        self._accepts = Accepts()
        self.closing = False

    def shrink(self) -> None:
        """A crowd has left: what is kept for speed goes, what has to stay moves together, and the rest is the system's again."""
        self._ids.forget()
        forget_digests()
        self.home.compact()
        give_back()

    async def end_unreadable(self) -> None:
        """End the sessions in memory whose ids open no more, because the key that sealed them was retired, with streams and calls."""
        generation = self._ids.generation
        if self._generation == generation:
            return
        for session in self.home.sessions():
            if self._ids.open(session.id) is None:
                with suppress(Fenced):  # another owner ends it there
                    await self.home.end(session)
        self._generation = generation  # not before: while the store is out this is tried again

    async def serve(self, http: HttpExchange, *, relayed: bool = False) -> None:
        """Answer one exchange; the body of a POST was read. One that another replica has relayed is answered here or not at all."""
        if len(http.headers) != len(http.scope["headers"]) and (refusal := repeated(http.scope["headers"])) is not None:
            await http.respond_error(400, INVALID_REQUEST, refusal)
            return
        try:
            match http.scope["method"]:
                case "POST":
                    await self._post(http, relayed=relayed)
                case "GET":
                    for _ in range(_MOST_HOPS):  # it may be parked or handed over between being found and being joined
                        session = await self._streamed(http, relayed=relayed)  # has returned before the stream opens: a frame less for each
                        if session is None:
                            return
                        if await self._streams.serve(http, session):
                            session.last_used = self._clock()
                            return
                    await refuse(http, MOVED)
                case "DELETE":
                    await self._delete(http, relayed=relayed)
                case _:
                    message = "Method not allowed: use POST, GET or DELETE"
                    await http.respond_error(405, INVALID_REQUEST, message, headers=[(b"allow", b"GET, POST, DELETE")])
        except StoreUnavailable as error:
            await refuse(http, of_store(error))

    async def _post(self, http: HttpExchange, *, relayed: bool) -> None:
        if not await self._acceptable(http):
            return
        try:
            message = classify(decode_lenient(http.body))
        except (ValueError, RecursionError):
            await http.respond_error(400, PARSE_ERROR, "Parse error: the body is not JSON")
            return
        if isinstance(message, MalformedMessage):
            await http.respond_error(400, INVALID_REQUEST, message.reason, request_id=message.id)
        elif (refusal := contradiction(http.headers, message)) is not None:
            request_id = message.id if isinstance(message, RequestMessage) else None
            await http.respond_error(400, INVALID_REQUEST, refusal, request_id=request_id)
        elif isinstance(message, RequestMessage):
            await self._request(http, message, relayed=relayed)
        else:
            await self._serve_within(http, message, relayed=relayed)

    async def _request(self, http: HttpExchange, message: RequestMessage, *, relayed: bool) -> None:
        """What begins something is judged first."""
        refusal = CLOSING if self.closing else self._budgets.refuses_call(http)
        if refusal is not None:
            await refuse(http, refusal, message.id)
            return
        try:
            if message.method == "initialize" and b"mcp-session-id" not in http.headers:
                await self._open(http, message)
            else:
                await self._serve_within(http, message, relayed=relayed)
        except StoreUnavailable as error:
            await refuse(http, of_store(error), message.id)
        except BaseException as error:  # boundary: whatever fails around the handler has its request's id
            if http.streaming:
                raise  # what another replica writes is cut, and its client comes back for the rest
            await answer_failed(http, error, message.id, message.method)

    async def _serve_within(self, http: HttpExchange, message: Addressed, *, relayed: bool) -> None:
        session = await self._session(http, message, relayed=relayed)
        if session is None:
            return
        await self._dispatcher.dispatch(http, session, message)
        session.last_used = self._clock()
        if not isinstance(message, RequestMessage):
            session.rest()  # many clients say that they are there, and then nothing for long
        if not self.home.accepting:
            await self.home.rest(session)

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

    # Finding the session

    async def _session(self, http: HttpExchange, message: Addressed | None = None, *, relayed: bool) -> Session | None:
        """The session that the request names, when it is to be served here; else the request is answered already."""
        request_id = message.id if isinstance(message, RequestMessage) else None
        name = http.headers.get(b"mcp-session-id", b"").strip().decode("latin-1")
        if not name:
            await http.respond_error(400, INVALID_REQUEST, "Bad request: missing Mcp-Session-Id header", request_id=request_id)
            return None
        record = self._ids.open(name)
        if record is None or record.owner != _owner(http):
            await self._respond_gone(http, request_id)
            return None
        session = await self._locate(http, name, record, message, relayed=relayed)
        if session is not None:
            http.session_id = session.id
            session.last_used = self._clock()
        return session

    async def _locate(
        self,
        http: HttpExchange,
        name: str,
        record: SessionRecord,
        message: Addressed | None,
        *,
        relayed: bool,
    ) -> Session | None:
        """Find the session here, or have its owner answer; an owner that is gone is succeeded."""
        request_id = message.id if isinstance(message, RequestMessage) else None
        if not self.home.accepting and not self.home.holds(record):
            if relayed:  # it was handed over: whoever asks owns it next, not a process that ends
                await http.respond_error(421, INVALID_REQUEST, "This replica does not own the session", request_id=request_id)
                return None
            if http.scope["method"] == "GET":
                await refuse(http, CLOSING)
                return None
        dead: Held | None = None
        had_it = False
        for _ in range(_MOST_HOPS):
            found = await self.home.locate(name, record, http, dead)
            match found:
                case Session() if found.lease is None or found.lease.valid:
                    return None if had_it and await self._is_unknown(http, message) else found
                case Session():
                    continue  # it was handed over between two steps
                case Gone():
                    await self._respond_gone(http, request_id)
                    return None
                case Refusal():
                    await refuse(http, found, request_id)
                    return None
                case Held():
                    if relayed or self._forward is None:
                        await http.respond_error(421, INVALID_REQUEST, "This replica does not own the session", request_id=request_id)
                        return None
                    verdict = await self._ask_owner(found, http)
                    if verdict is Passed.ANSWERED or (verdict is Passed.LOST and await self._is_unknown(http, message)):
                        return None
                    if verdict is Passed.SILENT and (self._is_alive is None or await self._is_alive(found.owner)):
                        break
                    http.sent_before = http.sent_before or verdict in (Passed.LOST, Passed.DEAD)
                    # A connection that broke proves nothing: the next attempt tells whether there is still somebody.
                    dead = None if verdict is Passed.LOST else found
                    had_it = had_it or verdict is Passed.DEAD
        await refuse(http, OWNER_SILENT, request_id)
        return None

    async def _ask_owner(self, held: Held, http: HttpExchange) -> Passed:
        assert self._forward is not None  # noqa: S101 - a session has another owner only where there is a way to it
        with self._streams.counted(http) if http.scope["method"] == "GET" else nullcontext():
            verdict = await self._forward(held, http)
        self._instruments.relayed(verdict.name.lower())
        return verdict

    async def _is_unknown(self, http: HttpExchange, message: Addressed | None) -> bool:
        """A lost owner may have run the request already: answer so, unless it does not matter how often it runs."""
        if not isinstance(message, RequestMessage) or not self._dispatcher.is_unknown(message):
            return False
        await http.respond(200, encode(error_answer(message.id, outcome_unknown().error)))
        return True

    @staticmethod
    async def _respond_gone(http: HttpExchange, request_id: str | int | None) -> None:
        """A stranger's session is as good as none."""
        message = "Session not found: it has ended or never was; initialize a new one"
        await http.respond_error(404, INVALID_REQUEST, message, request_id=request_id)

    # Its beginning and its end

    async def _open(self, http: HttpExchange, message: RequestMessage) -> None:
        """Answer `initialize`; the session exists once that succeeded."""
        owner = _owner(http)
        refusal = self.home.refuses_new(owner)
        if refusal is not None:
            await refuse(http, refusal, message.id)
            return
        try:
            name, record = self._ids.mint(negotiated(message.params), described_by(message.params), owner)
        except ClientTooLarge as error:
            await http.respond_error(400, INVALID_REQUEST, str(error), request_id=message.id)
            return
        http.session_id = name
        opening = Session(self._around, name, record, None, self._clock())
        answer = await self._dispatcher.run(self._dispatcher.call(http, opening, message), message)
        opening.rest()  # the typed form of what the client said is not wanted again
        if answer is None:
            await refuse(http, CLOSING, message.id)
        elif "result" in answer and isinstance(refused := await self.home.admit(name, record, opening), Refusal):
            await refuse(http, refused, message.id)
        elif http.streaming:
            await http.write(sse_frame(encode_answer(answer)), last=True)
        else:
            http.session_id = name if "result" in answer else None
            await http.respond(200, encode_answer(answer), [opening.header] if "result" in answer else ())

    async def _delete(self, http: HttpExchange, *, relayed: bool) -> None:
        for _ in range(_MOST_HOPS):
            session = await self._session(http, relayed=relayed)
            if session is None:
                return
            if not self.home.ends_everywhere:
                message = "Sessions cannot be ended here: without a store whoever has the keys would go on serving it; it ends by its age"
                await http.respond_error(405, INVALID_REQUEST, message, headers=[(b"allow", b"GET, POST")])
                return
            with suppress(Fenced):  # it was handed over meanwhile: it is ended where it is now
                await self.home.end(session)
                await http.respond(200)
                return
        await refuse(http, MOVED)

    # The GET stream

    async def _streamed(self, http: HttpExchange, *, relayed: bool) -> Session | None:
        """The session whose stream a GET opens here; else the request is answered already."""
        if not self._accepts(http.headers.get(b"accept")).sse:
            await http.respond_error(406, INVALID_REQUEST, "Not acceptable: the Accept header must name text/event-stream")
            return None
        refusal = self._budgets.refuses_stream(http)
        if refusal is not None:
            await refuse(http, refusal)
            return None
        return await self._session(http, relayed=relayed)

    # What other replicas leave to us

    def adopt(self, session: Session, owned: Owned, http: HttpExchange) -> None:
        """Take up what the last owner of a session left behind."""
        session.streamed = owned.streamed
        session.subscriptions = Subscriptions(owned.watched) if owned.watched else None
        for stream, registration in owned.calls.items():
            feed = session.feeds[stream] = Feed(owned.lease, stream)
            settle = partial(self._dispatcher.settle, session, feed, registration, http.detached())
            self._around.background.contained("orphan", settle)


def _owner(http: HttpExchange) -> str:
    """The name that a session belongs to; nobody's name is empty."""
    return http.principal.name if http.principal is not None and not http.principal.anonymous else ""

"""One message of a session, run to its end: requests to their answer, notifications and replies to whoever waits for them.

A request runs in the ASGI task that brought it. A JSON-RPC id that is still in flight is refused instead of being overwritten. An orphan, a
call whose owner was lost while it streamed, is run again here or ended with an error; either way its stream ends.

Source: MCP 2025-11-25, basic, "Messages"; docs/decisions/2026-11-24-ownership.md
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from mcp.shared.dispatcher import as_request_id, coerce_request_id
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_REQUEST, ErrorData

from moorage.lifecycle.supervised import is_end_of_task
from moorage.protocol import orphans
from moorage.protocol.boundary import answer_failed, answerable, internal_error
from moorage.protocol.encoding import encode_answer, error_object, sse_event, sse_frame
from moorage.protocol.feed import Feed, outcome_unknown
from moorage.protocol.messages import NotificationMessage, ReplyMessage, RequestMessage
from moorage.protocol.reader import Reader
from moorage.protocol.refusals import MOVED, STORE_FULL, Refusal, refuse
from moorage.protocol.session import Session, read_stream
from moorage.protocol.session_call import SessionCall
from moorage.protocol.subscriptions import NO_ROOM, Subscriptions
from moorage.store.outage import StoreFull, StoreUnavailable
from moorage.store.sessions import Fenced

if TYPE_CHECKING:
    from moorage.protocol.call import InFlight
    from moorage.protocol.exchange import HttpExchange
    from moorage.protocol.hot import HotTools

REQUEST_CANCELLED: Final = -32800
"""What this era answers a cancelled request with, since its stream may end only with a response (as the SDK does)."""

_SUBSCRIBE: Final = "resources/subscribe"
_UNSUBSCRIBE: Final = "resources/unsubscribe"
_MOST_LOGGED: Final = 100

Addressed = RequestMessage | NotificationMessage | ReplyMessage

log = structlog.get_logger("moorage.protocol")


class Dispatcher:
    """Runs the messages of sessions.

    Args:
        in_flight: The calls of this process.
        repeatable: Says which requests may run again.
        clock: The loop's, in seconds.
        hot: Runs plain calls of tools; None where the SDK's kernel runs every call.
        json_responses: Answer every call as one JSON document (`http.json_responses`).
    """

    def __init__(
        self,
        in_flight: InFlight,
        repeatable: Callable[[RequestMessage], bool],
        clock: Callable[[], float],
        *,
        hot: HotTools | None,
        json_responses: bool,
    ) -> None:
        self._in_flight = in_flight
        self._hot = hot
        self._repeatable = repeatable
        self._clock = clock
        self._json_responses = json_responses

    async def dispatch(self, http: HttpExchange, session: Session, message: Addressed) -> None:
        """Run a message and answer its exchange."""
        match message:
            case RequestMessage():
                running = session.calls.get(coerce_request_id(message.id))
                if running is not None and running.feed is not None and http.sent_before:
                    await self._listen_to(running.feed, http, session, message.id)
                    return
                if running is not None:
                    reason = f"Request id {message.id!r} is already in flight in this session"
                    await http.respond_error(400, INVALID_REQUEST, reason, request_id=message.id)
                    return
                call = self.call(http, session, message)
                try:
                    answer = await self.run(call, message)
                    if not call.given_up:
                        await self._respond(call, message, answer)
                except StoreUnavailable as error:
                    if http.responded:
                        await self._respond_failed(call, message, error)
                    raise
                except BaseException as error:  # boundary: a fault while answering is this call's too
                    await self._respond_failed(call, message, error)
            case NotificationMessage():
                await http.respond(202, headers=[session.header])
                call = SessionCall(session, http, None, None, streams=False, now=self._clock())
                await self._in_flight.run(call, self._notified(call, session, message))  # a drain waits for it
            case ReplyMessage():
                await self._replied(http, session, message)

    @staticmethod
    async def _listen_to(feed: Feed, http: HttpExchange, session: Session, request_id: str | int) -> None:
        """Answer a request whose first owner was lost with what becomes of it here: it runs again already."""
        reader = Reader(http)
        try:
            whole = await feed.join(reader, 0, primes=session.primes)
        except Fenced:
            await refuse(http, MOVED, request_id)
            return
        if not whole:  # the log has no room for all that was said; the answer is still to come
            feed.attach(reader)
        await read_stream(session, reader)

    def call(self, http: HttpExchange, session: Session, message: RequestMessage) -> SessionCall:
        """What a request is while it runs."""
        token = _progress_token(message.params)
        call = SessionCall(session, http, message.id, token, streams=not self._json_responses, now=self._clock())
        call.unended = lambda given_up: self._respond_unended(given_up, message)  # not over `call`: the two would keep each other
        call.registration = lambda: orphans.register(message, repeatable=self._repeatable(message))
        return call

    async def run(self, call: SessionCall, message: RequestMessage) -> dict[str, Any] | None:
        """Run a request to its JSON-RPC answer; None when this process stopped it before it had one."""
        session, key = call.session, coerce_request_id(message.id)
        if message.method == _SUBSCRIBE and (refusal := _refuses_watching(session, message)) is not None:
            return {"jsonrpc": "2.0", "id": message.id, "error": refusal.error}
        session.calls[key] = call
        try:
            answer = await self._in_flight.run(call, self._answer(call, message))
        finally:
            del session.calls[key]
        if call.given_up:
            return None
        if answer is None:
            return _interrupted(call, message)
        if message.method in (_SUBSCRIBE, _UNSUBSCRIBE) and "result" in answer:
            refusal = await self._watch(session, message)
            if refusal is not None:
                return {"jsonrpc": "2.0", "id": message.id, "error": refusal.error}
        return answer

    async def _answer(self, call: SessionCall, message: RequestMessage) -> dict[str, Any]:
        try:
            work = self._hot.prepare_in_session(call, message.params) if self._hot is not None and message.method == "tools/call" else None
            if work is None:
                result = await call.session.runner.on_request(cast("Any", call), message.method, message.params)
            else:
                result = await work()
        except BaseException as error:  # boundary: a handler's exception becomes its JSON-RPC error
            known = handler_exception_to_error_data(answerable(error, message.method))
            if known is None:
                log.exception("mcp.handler_failed", method=message.method[:_MOST_LOGGED])
                known = ErrorData(code=INTERNAL_ERROR, message="Internal server error")
            return error_answer(message.id, known)
        return {"jsonrpc": "2.0", "id": message.id, "result": result}

    async def _respond(self, call: SessionCall, message: RequestMessage, answer: dict[str, Any] | None) -> None:
        http = call.http
        if answer is None and not call.resumable:
            answer = error_answer(message.id, ErrorData(code=CONNECTION_CLOSED, message="The server is shutting down"))
        if call.feed is not None:
            await self._end_stream(call, call.feed, answer)
        if answer is None or http.ended or (call.feed is not None and (call.reader is None or call.client_gone)):
            return  # what is resumable has a feed, and whoever reads one has the answer from there
        if http.streaming:
            await http.write(sse_frame(encode_answer(answer)), last=True)
        else:
            await http.respond(200, encode_answer(answer), [call.session.header])

    async def _respond_unended(self, call: SessionCall, message: RequestMessage) -> None:
        """Answer in the place of a handler that goes on though it was interrupted."""
        try:
            await self._respond(call, message, _interrupted(call, message))
        except BaseException as error:  # boundary: as of any other answer
            await self._respond_failed(call, message, error)

    @staticmethod
    async def _respond_failed(call: SessionCall, message: RequestMessage, error: BaseException) -> None:
        """Answer with an internal error what could not be answered otherwise, on whatever the client reads."""
        if not is_end_of_task(error) and call.feed is not None:
            await _fail_stream(call.session, call.feed, message.id)
            if call.reader is not None:
                call.reader.put(sse_event(internal_error(message.id)))  # a fenced log shows nothing; to one that has ended this is nothing
                call.reader.end(b"")
                await call.reader.wait_closed()
        await answer_failed(call.http, error, message.id, message.method, [call.session.header])

    @staticmethod
    async def _end_stream(call: SessionCall, feed: Feed, answer: dict[str, Any] | None) -> None:
        """End a stream that is in the log; without an answer the next owner ends it, and the client comes back there."""
        if answer is not None:
            try:
                await feed.emit(answer, last=True)
            except MCPError:
                log.info("mcp.answer_unheard")  # neither the log nor a client takes it: the session is somebody else's
            call.session.feeds.pop(feed.name, None)
        elif feed.reader is not None:
            feed.reader.end()
        if call.reader is not None:
            await call.reader.wait_closed()

    async def _replied(self, http: HttpExchange, session: Session, message: ReplyMessage) -> None:
        """A late reply is accepted and of no use; one to a question that was asked elsewhere would be lost without a word."""
        if session.questions.resolve(message) or session.questions.asked(session, message.id):
            await http.respond(202, headers=[session.header])
            return
        reason = f"Nobody here asked request {message.id!r}: the replica that did is gone, or it is another one and there is no store"
        await http.respond_error(400, INVALID_REQUEST, reason)

    async def _notified(self, call: SessionCall, session: Session, message: NotificationMessage) -> None:
        try:
            await self._notify(call, session, message)
        except BaseException as error:  # boundary: it is answered already, so that nobody but the log can hear of it
            if is_end_of_task(error):
                raise
            log.exception("mcp.notification_failed", method=message.method[:_MOST_LOGGED])

    async def _notify(self, call: SessionCall, session: Session, message: NotificationMessage) -> None:
        params = message.params or {}
        if message.method == "notifications/cancelled":
            request_id = as_request_id(params.get("requestId"))
            running = session.calls.get(coerce_request_id(request_id)) if request_id is not None else None
            if running is not None:
                running.end(MCPError(code=REQUEST_CANCELLED, message="Request cancelled"))
        elif message.method == "notifications/progress":
            await session.questions.progressed(params)
        await session.runner.on_notify(cast("Any", call), message.method, message.params)

    async def _watch(self, session: Session, message: RequestMessage) -> Refusal | None:
        """Keep what resources the client wants to hear of, for the next owner as well; says why that cannot be."""
        uri, wanted = (message.params or {}).get("uri"), message.method == _SUBSCRIBE
        if not isinstance(uri, str):
            return None
        subscriptions = session.subscriptions = session.subscriptions or Subscriptions()
        refusal = subscriptions.refuses(uri) if wanted else None  # others may have been added while the handler ran
        if refusal is not None:
            return refusal
        subscriptions.change(uri, wanted=wanted)
        if session.lease is None:
            return None
        try:
            refusal = None if await subscriptions.save(session.lease) else NO_ROOM
        except Fenced:
            return None  # it is another owner's, and its client's to say again
        except StoreFull:
            refusal = STORE_FULL
        except StoreUnavailable:
            session.last_kept = -inf  # it is kept with the next word to the store
        if refusal is not None and wanted:
            subscriptions.forgive([uri])
            return refusal
        return None

    def is_unknown(self, message: Addressed | None) -> bool:
        """Whether a request that a lost owner had may not be run a second time."""
        return isinstance(message, RequestMessage) and not self._repeatable(message)

    async def settle(self, session: Session, feed: Feed, registration: bytes, http: HttpExchange) -> None:
        """End the stream of a call whose owner was lost; whether it runs again is asked anew of the tool.

        A fault of it ends the stream with an error under the call's id, before it is raised.
        """
        known = None
        try:
            known = orphans.registered(registration)
            if known is None:  # of a later release
                session.feeds.pop(feed.name, None)
                await feed.forget()
                return
            await self._settle(session, feed, known, http)
        except Fenced:
            log.info("call.unsettled")  # whoever claims the session next finds it again
        except BaseException as error:
            if not is_end_of_task(error):
                await _fail_stream(session, feed, None if known is None else known.message.id)
            raise
        finally:
            http.observed.finish(200)

    async def _settle(self, session: Session, feed: Feed, known: orphans.Registered, http: HttpExchange) -> None:
        message = known.message
        feed.again = again = known.again and self._repeatable(message)
        floor = orphans.progress_seen(await feed.read()) if again else None
        if again and coerce_request_id(message.id) not in session.calls:  # nothing is awaited until it is there
            call = self.call(http, session, message)
            call.feed, call.floor = feed, floor
            answer = await self.run(call, message)
            if call.given_up:
                return
        else:
            answer = error_answer(message.id, outcome_unknown().error)
        log.info("call.settled", method=message.method[:_MOST_LOGGED], again=again)
        await self._end_stream(SessionCall(session, http, None, None, streams=False, now=0.0), feed, answer)


async def _fail_stream(session: Session, feed: Feed, request_id: str | int | None) -> None:
    """End the stream of a call that could not be answered, once: whoever reads it, and whoever comes back for it, gets an error in words.

    Where the log does not take that either, this process gives the session up, and the stream ends for its client to come back:
    whoever owns the session next, maybe this process, settles the call.
    """
    session.feeds.pop(feed.name, None)
    try:
        if request_id is None:
            await feed.forget()
        else:
            await feed.fail(internal_error(request_id))
    except (MCPError, Fenced):
        log.info("mcp.answer_unheard")  # the session is somebody else's, who ends the stream
    except Exception:  # boundary: what has failed once may fail again, and a client must not wait for ever
        log.exception("mcp.answer_failed", effect="the session is given up")
        session.let_go()
    if feed.reader is not None:
        feed.reader.end()


def _refuses_watching(session: Session, message: RequestMessage) -> Refusal | None:
    uri = (message.params or {}).get("uri")
    return (session.subscriptions or Subscriptions()).refuses(uri) if isinstance(uri, str) else None


def _interrupted(call: SessionCall, message: RequestMessage) -> dict[str, Any] | None:
    """The answer of a call that was interrupted for a reason of its own."""
    return None if call.ended_because is None else error_answer(message.id, call.ended_because.error)


def error_answer(request_id: str | int, error: ErrorData) -> dict[str, Any]:
    """The answer that a failed request gets."""
    return {"jsonrpc": "2.0", "id": request_id, "error": error_object(error, exclude_unset=True)}


def _progress_token(params: dict[str, Any] | None) -> str | int | None:
    match params:
        case {"_meta": {"progressToken": str() | int() as token}} if type(token) is not bool:
            return token
        case _:
            return None

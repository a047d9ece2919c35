"""A call within a session: what its handler may do to the response, and to the stream in the log that the response shows.

Promises that a client which leaves does not end it, and that a call which is not over soon has a stream that can be resumed, where there is
a log.

Source: MCP 2025-11-25, basic/transports, "Resumability and Redelivery"; SEP-1699; docs/decisions/2026-11-24-event-log.md
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import ServerMessageMetadata

from moorage.protocol.call import Call
from moorage.protocol.feed import Feed
from moorage.protocol.orphans import registered
from moorage.protocol.reader import Reader
from moorage.store.sessions import Fenced

if TYPE_CHECKING:
    from mcp.shared.dispatcher import CallOptions

    from moorage.protocol.exchange import HttpExchange
    from moorage.protocol.session import Session

SILENT_SECONDS: Final = 0.25
"""How long a call with a log may be silent before its client gets a position to resume from."""


class SessionCall(Call):
    """A call within a session: it may ask the client back, and a client that leaves does not end it.

    Attributes:
        feed: Its stream in the log, once it has one.
        floor: Progress up to here was seen already, when the call runs again after its first owner was lost.
        unended: Answers it in the place of its handler.
        registration: What a later owner needs to end this call, as bytes; made when the stream opens.
    """

    __slots__ = ("feed", "floor", "reader", "registration", "session", "unended")

    def __init__(self, session: Session, http: HttpExchange, request_id: str | int | None, token: str | int | None, **kwargs: Any) -> None:
        super().__init__(http, request_id, token, **kwargs)
        self.session = session
        self.feed: Feed | None = None
        self.reader: Reader | None = None
        self.floor: float | None = None
        self.unended: Callable[[SessionCall], Awaitable[None]] | None = None
        self.registration: Callable[[], bytes] = lambda: b'{"v":1,"id":0,"method":""}'

    @property
    def message_metadata(self) -> ServerMessageMetadata:
        """The HTTP request, and, where a stream can be resumed, the ways to have the client come back later (SEP-1699)."""
        logged = self.session.lease is not None
        return ServerMessageMetadata(
            request_context=self.http.request,
            can_send_request=self.can_send_request,
            close_sse_stream=self._close_stream if logged else None,
            close_standalone_sse_stream=self.session.close_get_stream if logged else None,
        )

    @property
    def can_send_request(self) -> bool:
        """In SSE mode, until the call is over."""
        return self.streams and not self.closed

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> dict[str, Any]:
        """Ask the client on this call's own response stream."""
        if not self.can_send_request:
            raise NoBackChannelError(method)
        return await self.session.questions.ask(self.session, self, method, params, opts)

    async def emit(self, message: Mapping[str, Any]) -> None:
        """Send one message on this call's stream, by way of the log where there is one."""
        if self.session.lease is None:
            await super().emit(message)
        elif self.streams and not self.closed and not self._seen_already(message):
            await self.logged().emit(message)

    @property
    def carries(self) -> bool:
        """Whether somebody reads this call's stream: who brought the call, or who came back for it; nobody once the call has its answer.

        A task that the tool left behind, or its shielded clean-up, may still wait for what it asked before.
        """
        return not self.closed and (not self.client_gone or (self.feed is not None and self.feed.reader is not None))

    @property
    def resumable(self) -> bool:
        """Whether the log is ours, and the client has a position in it to come back with."""
        return self.feed is not None and self.feed.begun and self.session.owned

    def logged(self) -> Feed:
        """This call's stream in the log; the first time it is wanted, the response becomes its reader."""
        if self.feed is None:
            registration = self.registration()
            known = registered(registration)  # before the stream exists: one that nobody was shown could not carry the error
            self.feed = self.session.new_feed(registration)
            self.feed.again = known is not None and known.again
            if not (self.client_gone or self.http.ended):
                self._show_to_client(self.feed)
        return self.feed

    def _show_to_client(self, feed: Feed) -> None:
        session, reader = self.session, Reader(self.http)
        self.reader = reader
        feed.attach(reader)

        async def serve() -> None:
            age = session.around.age_seconds() if session.primes else 0.0  # an older client may have no position to come back with
            await reader.serve([session.header], session.around.ping_seconds, age)
            feed.detach(reader)

        def failed() -> None:
            feed.detach(reader)
            reader.close()  # or the answer would wait for it
            self.fail()

        session.around.background.contained("answer-stream", serve, on_fault=failed)

    def _seen_already(self, message: Mapping[str, Any]) -> bool:
        if self.floor is None or message.get("method") != "notifications/progress":
            return False
        value = cast("Mapping[str, Any]", message.get("params") or {}).get("progress")
        return isinstance(value, int | float) and value <= self.floor

    async def _close_stream(self) -> None:
        try:
            await self.logged().register()
        except Fenced:
            return  # nobody could come back to it
        if self.reader is not None:
            self.reader.end()

    @property
    def opens_at(self) -> float | None:
        """A call that a client may want to resume has to give it a position before the connection is lost."""
        waits = self.feed is None and self.streams and self.session.lease is not None and self.request_id is not None
        return self.started + SILENT_SECONDS if waits else None

    async def open_early(self) -> None:
        """Open the stream, and register the call in the log."""
        if self.feed is None and not self.closed:
            try:
                await self.logged().register()
            except Fenced:
                return  # the answer goes to the client that is connected, if it still is

    async def open_stream(self) -> None:
        """The head names the session."""
        await self.http.open_stream([self.session.header])

    async def ping(self) -> None:
        """A stream in the log has readers, and they ping."""
        if self.session.lease is None:
            await super().ping()

    def client_left(self) -> None:
        """Leaving is no cancellation in this era ("Disconnection SHOULD NOT be interpreted as the client cancelling")."""
        self.client_gone = True
        if self.reader is not None:
            self.reader.leave()

    async def answer_unended(self) -> None:
        """On its stream where it has one; a notification has its answer."""
        if self.unended is not None:
            await self.unended(self)

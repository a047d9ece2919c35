"""A session of the handshake era: a record, not a running thing.

A session costs no task, no memory stream and no dispatcher: its requests run in the ASGI task that brought them, through the
SDK's `ServerRunner`, and its object is the connection's `Outbound`; what a server asks its client waits in `questions`. It is made
from what its id says, in whichever process its next request reaches, and dropped when it is idle. With a store it has a lease, and
what it streams is kept in the log (`feed`); without one it streams to whoever is connected.

Source: MCP 2025-11-25, basic/transports, "Session Management"; docs/decisions/2026-11-22-legacy-sessions.md, 2026-11-24-ownership.md
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types import CONNECTION_CLOSED

from moorage.lifecycle.supervised import contained, is_end_of_task
from moorage.protocol.connection import SessionConnection
from moorage.protocol.encoding import sse_event
from moorage.protocol.feed import Feed
from moorage.protocol.questions import Questions, moved
from moorage.protocol.reader import Reader
from moorage.protocol.turns import let_others
from moorage.store.sessions import GET_STREAM
from moorage.streams.position import base36

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server

    from moorage.lifecycle.supervised import Scope
    from moorage.protocol.budgets import Budgets
    from moorage.protocol.exchange import Header, HttpExchange
    from moorage.protocol.session_call import SessionCall
    from moorage.protocol.subscriptions import Subscriptions
    from moorage.sessions.identity import SessionRecord
    from moorage.store.sessions import Lease

log = structlog.get_logger("moorage.protocol")

PRIMED_SINCE: Final = "2025-11-25"
"""The first revision whose clients understand an event without data."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a session needs of the process that it lives in.

    Attributes:
        server: Whose session it is.
        lifespan_state: What the server's lifespan gave.
        background: Starts work that ends with the process at the latest.
        ping_seconds: Silence after which a stream gets a comment.
        age_seconds: Gives the age at which a stream that begins now is ended; 0 for never.
        asked_by: What the ids of requests to the client begin with in this process.
        budgets: What this process lets in.
        question_gap_seconds: How long a question may have no stream that carries it.
    """

    server: Server[Any]
    lifespan_state: Any
    background: Scope
    ping_seconds: float
    age_seconds: Callable[[], float]
    asked_by: str
    budgets: Budgets
    question_gap_seconds: float


class Session:
    """One client's session, and the standalone channel to it.

    Attributes:
        id: As the client has it.
        record: What it stands for.
        lease: The hand on the store's copy; None without a store.
        feeds: The streams of calls that have not ended, by name.
        streamed: Whether the client ever opened a GET stream: only then are its events worth keeping.
        subscriptions: The resources whose changes the client wants to hear of; None where it never wanted any.
    """

    __slots__ = (
        "_connection",
        "_feeds",
        "_questions",
        "_runner",
        "around",
        "calls",
        "feeds",
        "get_feed",
        "id",
        "last_kept",
        "last_used",
        "lease",
        "reader",
        "record",
        "streamed",
        "subscriptions",
    )

    def __init__(self, around: Surroundings, session_id: str, record: SessionRecord, lease: Lease | None, now: float) -> None:
        """Args: `now` is the loop's clock in seconds."""
        self.around = around
        self.id = session_id
        self.record = record
        self.lease = lease
        self.last_used = self.last_kept = now
        self.calls: dict[str | int, SessionCall] = {}
        self.reader: Reader | None = None
        self.feeds: dict[str, Feed] = {}
        self.get_feed: Feed | None = None
        if lease is not None:
            self.own(lease)
        self.streamed = False
        self.subscriptions: Subscriptions | None = None
        self._questions: Questions | None = None
        self._feeds = 0
        self._connection: SessionConnection | None = None
        self._runner: ServerRunner[Any] | None = None

    @property
    def header(self) -> Header:
        """Names the session in a response."""
        return b"mcp-session-id", self.id.encode()

    @property
    def connection(self) -> SessionConnection:
        """The SDK's view of the session, made when something looks."""
        if self._connection is None:
            self._connection = SessionConnection(self, self.id, self.record)
        return self._connection

    @property
    def runner(self) -> ServerRunner[Any]:
        """The SDK's kernel, made for the first message."""
        if self._runner is None:
            self._runner = ServerRunner(self.around.server, self.connection, self.around.lifespan_state)
        return self._runner

    @property
    def _holds_state(self) -> bool:
        return self._connection is not None and self._connection.holds_state

    @property
    def questions(self) -> Questions:
        """What the client was asked, made for the first question."""
        if self._questions is None:
            self._questions = Questions()
        return self._questions

    def rest(self) -> None:
        """Drop what the next message makes anew.

        The cycles among it are cut, so that its memory is free at once: the garbage collector comes late, and by then every page of
        the heap would have something else on it.
        """
        if self.calls or self._holds_state:
            return
        if self._runner is not None:
            vars(self._runner).pop("on_request", None)  # the SDK caches these bound methods in the object itself
            vars(self._runner).pop("on_notify", None)
        self._runner = self._connection = None

    @property
    def owner(self) -> str:
        """Whose it is: the principal's name."""
        return self.record.owner

    def own(self, lease: Lease) -> None:
        """The session is in the store now."""
        self.lease = lease
        self.get_feed = Feed(lease, GET_STREAM)

    @property
    def primes(self) -> bool:
        """Whether the client understands an event without data."""
        return self.record.version >= PRIMED_SINCE

    @property
    def in_use(self) -> bool:
        """Whether a client is connected to the session: an open stream, or a call whose client still waits."""
        readers = any(feed.reader is not None for feed in self.feeds.values())
        return self.reader is not None or readers or any(not call.client_gone for call in self.calls.values())

    @property
    def owned(self) -> bool:
        """Whether the log of the session is ours to write."""
        return self.lease is not None and self.lease.valid

    @property
    def idle(self) -> bool:
        """Whether nothing of it would be lost with this object."""
        return self.reader is None and not self.calls and not self._questions and not self._holds_state

    @property
    def watched(self) -> Collection[str]:
        """The resources whose changes the client wants to hear of."""
        return () if self.subscriptions is None else self.subscriptions.uris

    def new_feed(self, registration: bytes) -> Feed:
        """A stream in the log that no other owner of the session ever had."""
        assert self.lease is not None  # noqa: S101 - callers look first
        self._feeds += 1
        name = f"{base36(self.lease.epoch)}-{base36(self._feeds)}"
        feed = self.feeds[name] = Feed(self.lease, name, registration, primes=self.primes)
        return feed

    def end_unheard_questions(self, now: float) -> None:
        """End what no stream could carry for a whole gap; `now` is on the loop's clock."""
        if self._questions is not None:
            self._questions.end_unheard(now, self.around.question_gap_seconds)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Send a notification on the GET stream; to a client that never opened one it is dropped, as the protocol allows."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = dict(params)
        await self.emit(message)
        await let_others()

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> dict[str, Any]:
        """Ask the client on the GET stream.

        Raises:
            NoBackChannelError: when none is open.
        """
        if self.reader is None and not (self.streamed and self.get_feed is not None):
            raise NoBackChannelError(method)
        return await self.questions.ask(self, self, method, params, opts)

    @property
    def carries(self) -> bool:
        """Whether somebody reads the GET stream."""
        return self.reader is not None

    async def emit(self, message: Mapping[str, Any]) -> None:
        """Send one message on the GET stream, by way of the log where there is one."""
        if self.get_feed is not None:
            if self.streamed:
                await self.get_feed.emit(message)
        elif self.reader is not None:
            self.reader.put(sse_event(message))

    def end_streams(self, concerned: Callable[[HttpExchange], bool]) -> None:
        """End the GET streams that these exchanges read: soon, whether their clients read or not. A call ends its own response."""
        readers = [self.reader, *(feed.reader for feed in self.feeds.values())]
        for reader in readers:
            if reader is not None and reader.http.scope["method"] == "GET" and concerned(reader.http):
                reader.replace()

    async def close_get_stream(self) -> None:
        """Have the client come back for its GET stream."""
        if self.reader is not None:
            self.reader.end()

    def let_go(self) -> None:
        """The session is not ours any more: end its GET stream, so that the client comes back; calls finish for whoever is connected.

        What we asked the client ends here: its reply goes to the next owner.
        """
        if self.lease is not None:
            self.lease.give_up()
        if self._questions is not None:
            self._questions.end(moved())
        if self.reader is not None:
            self.reader.end()
        self.rest()

    async def close(self) -> None:
        """End everything that belongs to the session: calls, waits, stream, and what handlers left on its exit stack."""
        closed = MCPError(code=CONNECTION_CLOSED, message="The session has ended")
        for call in list(self.calls.values()):
            call.end(closed)
        if self._questions is not None:
            self._questions.end(closed)
        if self.reader is not None:
            self.reader.end()
        if self._holds_state:
            try:
                await aclose_shielded(self.connection)
            except BaseException as error:  # boundary: what a handler left on the exit stack must not keep other sessions from their end
                if is_end_of_task(error):
                    raise
                log.exception("session.cleanup_failed")
        self.rest()


async def read_stream(session: Session, reader: Reader) -> None:
    """Serve the response to a GET, until it is ended or its client leaves."""

    async def leave() -> None:
        await reader.http.disconnected()
        reader.leave()

    # a task group would take as much memory as all the rest
    leaving = contained("client-watch", leave, on_fault=reader.leave)
    try:
        await reader.serve([session.header], session.around.ping_seconds, session.around.age_seconds())
    finally:
        leaving.cancel()
        if session.reader is reader:
            session.reader = None
        for feed in (session.get_feed, *session.feeds.values()):
            if feed is not None:
                feed.detach(reader)

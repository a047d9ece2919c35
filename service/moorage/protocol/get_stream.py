"""The GET stream of a session: what the server says on its own, and what a client missed of any stream.

Owns whose stream it is and where it begins. Promises that a position is honoured whole or refused, that the newer of two streams of one
session stays, and that each is counted among the streams of its principal.

Source: MCP 2025-11-25, basic/transports, "Listening for Messages from the Server" and "Resumability and Redelivery"
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mcp_types import INVALID_REQUEST

from moorage.protocol.budgets import Budgets, principal_of
from moorage.protocol.feed import Feed
from moorage.protocol.reader import Reader
from moorage.protocol.session import Session, read_stream
from moorage.store.sessions import GET_STREAM, Fenced
from moorage.streams.position import read_position

if TYPE_CHECKING:
    from moorage.protocol.exchange import HttpExchange
    from moorage.protocol.home import Home
    from moorage.telemetry.instruments import Instruments

POSITION_LOST: Final = -32010
"""JSON-RPC error code of a `Last-Event-ID` that cannot be honoured: events after it are gone, or it names nothing here."""


class GetStreams:
    """Streams of the sessions that are here."""

    def __init__(self, home: Home, budgets: Budgets, instruments: Instruments) -> None:
        self._home = home
        self._budgets = budgets
        self._instruments = instruments

    @contextmanager
    def counted(self, http: HttpExchange) -> Generator[None]:
        """Count a stream in for as long as it is open, here or at the session's owner."""
        holder = principal_of(http)
        self._budgets.streams.enter(holder)
        try:
            yield
        finally:
            self._budgets.streams.leave(holder)

    async def serve(self, http: HttpExchange, session: Session) -> bool:
        """Answer a GET with a stream of the session, until it ends; False when the session left before anything was answered."""
        position = http.headers.get(b"last-event-id", b"").strip().decode("latin-1")
        if position and session.lease is None:
            message = "Last-Event-ID cannot be honoured: this deployment keeps no event log; open a stream without it"
            await http.respond_error(400, INVALID_REQUEST, message)
            return True
        try:
            reader = await self._join(http, session, position)
        except Fenced:
            return False
        if reader is None:
            return True
        # One frame while the stream is open, and no context manager: each takes 250 bytes or more of every stream.
        http.observed.streaming("get")
        holder = principal_of(http)
        self._budgets.streams.enter(holder)
        try:
            await read_stream(session, reader)
        finally:
            self._budgets.streams.leave(holder)
        if reader.aged:
            await self._home.rest(session)  # load may move: whoever is asked next owns it
        return True

    async def _join(self, http: HttpExchange, session: Session, position: str) -> Reader | None:
        """Join the stream that is asked for; None when that was refused."""
        reader = Reader(http)
        if position:
            whole = await self._resume(session, reader, position)
            self._instruments.resumed(whole=whole)
            if not whole:
                message = "Last-Event-ID cannot be honoured: events after it are no longer kept, or it is none of this session's"
                await http.respond_error(404, POSITION_LOST, message)
                return None
        elif session.get_feed is None:
            reader.replay([b": open\r\n\r\n"])
            self._take_get_stream(session, reader)
        else:
            offset = await session.get_feed.begin(reader, registration=None if session.streamed else b"{}")
            self._take_get_stream(session, reader)
            reader.replay([session.get_feed.priming(offset) if session.primes else b": open\r\n\r\n"])
        return reader

    async def _resume(self, session: Session, reader: Reader, event_id: str) -> bool:
        """Join a stream where the client has left it; False when that cannot be done without a gap."""
        assert session.lease is not None  # noqa: S101 - the caller has looked
        position = read_position(event_id, session.lease.tag, session.lease.eras)
        if position is None:
            return False
        if position.stream == GET_STREAM and session.get_feed is not None:
            joined = await session.get_feed.join(reader, position.offset, primes=session.primes)
            if joined:
                self._take_get_stream(session, reader)
            return joined
        feed = session.feeds.get(position.stream) or Feed(session.lease, position.stream)
        return await feed.join(reader, position.offset, primes=session.primes)

    @staticmethod
    def _take_get_stream(session: Session, reader: Reader) -> None:
        """Of two GET streams of one session the newer stays, because the older is what a client lost."""
        if session.reader is not None:
            session.reader.replace()
        session.reader = reader
        session.streamed = True

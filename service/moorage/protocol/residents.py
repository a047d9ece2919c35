"""The sessions that live in this process, and how the others are found.

Every session can be made from its id, so living here is a matter of convenience: a session is made when a request for it arrives, and
dropped when it has been idle for a while. Two kinds of home share that. `AloneHome` has no store: what it knows of a session is when it was
last used and that it has ended. `SharedHome` has one: it owns what it serves, sends the rest to its owner, and hands over when the process
drains.

Source: docs/decisions/2026-11-24-session-identity.md, 2026-11-24-ownership.md
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from sys import intern
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from moorage.protocol.session import Session, Surroundings
from moorage.store.outage import StoreUnavailable
from moorage.store.sessions import Absent, Fenced, Held, Owned, SessionStore

if TYPE_CHECKING:
    from moorage.protocol.exchange import HttpExchange
    from moorage.sessions.identity import SessionRecord
    from moorage.settings import SessionSettings
    from moorage.telemetry.instruments import Instruments

_MOST_ENDED: Final = 100_000
"""Ended sessions that are remembered without a store; the oldest are forgotten first."""

_MOST_ROUTES: Final = 10_000
_KEEPS_A_TIMEOUT: Final = 3
_RESTS_AFTER_SECONDS: Final = 1.0

_AT_ONCE: Final = 16
"""Sessions that are tended at the same time: one after another, each would wait for a turn of a busy loop and for the store."""

log = structlog.get_logger("moorage.protocol")


@dataclass(frozen=True, slots=True)
class Gone:
    """No session: it has ended, or never was."""


@dataclass(frozen=True, slots=True)
class Refused:
    """There may be one, but not here and now; the reason is for the client."""

    reason: str


Located = Session | Held | Gone | Refused
IsAlive = Callable[[str], Awaitable[bool]]


class Passed(Enum):
    """How it went."""

    ANSWERED = "the owner has answered, or the client has left"
    GONE = "the owner did not get the request, and will not: it is dead, or owns the session no more"
    SILENT = "the owner could not be reached in time, and may live"
    LOST = "the owner had the request and was lost before it answered"
    DEAD = "the owner had the request, did not answer, and is known to the store no more"


TOO_MANY: Final = "Too many open sessions"
ENDING: Final = "The server is shutting down: initialize again, and another replica will answer"
TOO_MANY_OF_PRINCIPAL: Final = "Too many open sessions of this principal"


class Home(Protocol):
    """Where sessions live."""

    accepting: bool
    """Whether sessions are kept for longer than their requests; a drain ends that."""

    @property
    def count(self) -> int:
        """How many sessions this process knows to be open."""
        ...

    def sessions(self) -> Iterator[Session]:
        """Those that are in memory."""
        ...

    @property
    def ends_everywhere(self) -> bool:
        """Whether a session that is ended here is ended for every replica."""
        ...

    def refuses_new(self, owner: str) -> str | None:
        """Why no session of this principal can be opened now, if there is a reason."""
        ...

    def holds(self, record: SessionRecord) -> bool:
        """Whether a session can be served by no other process."""
        ...

    async def admit(self, name: str, record: SessionRecord, opening: Session) -> Session | Refused:
        """Let a new session in; `opening` is what its handshake ran in.

        Raises:
            StoreUnavailable.
        """
        ...

    async def locate(self, name: str, record: SessionRecord, http: HttpExchange, dead: Held | None = None) -> Located:
        """Find a session; `dead` is an owner that did not answer for it.

        Raises:
            StoreUnavailable.
        """
        ...

    async def end(self, session: Session) -> None:
        """End a session, everywhere.

        Raises:
            StoreUnavailable.
        """
        ...

    async def rest(self, session: Session) -> None:
        """Let go of a session whose client may come back anywhere, unless it is in use."""
        ...

    async def tend(self) -> None:
        """What is due about once a second: idle sessions are dropped, old ones end."""
        ...

    async def leave(self) -> None:
        """The process drains: end streams, and let go of what is idle."""
        ...

    async def close(self) -> None:
        """The process ends."""
        ...


@dataclass(slots=True)
class _Known:
    """What is left of a session that is not in memory: its id has the rest."""

    owner: str
    version: str
    created: float
    last_used: float


class _Living:
    """What both kinds of home keep of the sessions in memory."""

    def __init__(self, around: Surroundings, limits: SessionSettings, instruments: Instruments, clock: Callable[[], float]) -> None:
        self.around = around
        self.limits = limits
        self.clock = clock
        self.accepting = True
        self._instruments = instruments
        self._living: dict[bytes, Session] = {}
        self._owned: Counter[str] = Counter()

    def sessions(self) -> Iterator[Session]:
        """Those that are in memory."""
        return iter(list(self._living.values()))

    def _make(self, name: str, record: SessionRecord, lease: object = None) -> Session:
        session = Session(self.around, name, record, lease, self.clock())  # type: ignore[arg-type]
        self._living[record.key] = session
        return session

    def _count_in(self, record: SessionRecord) -> None:
        self._owned[record.owner] += 1
        self._instruments.session_opened(record.version)

    def _count_out(self, record: SessionRecord | _Known, *, seconds: float | None) -> None:
        """Count a session out; `seconds` is its age if it has ended, None if it only lives elsewhere now."""
        self._owned[record.owner] -= 1
        if not self._owned[record.owner]:
            del self._owned[record.owner]
        if seconds is None:
            self._instruments.session_left(record.version)
        else:
            self._instruments.session_closed(record.version, max(0.0, seconds))

    def _rested(self, session: Session) -> bool:
        waits = self.limits.park_after_seconds if self.accepting else 0.0
        return session.idle and self.clock() - session.last_used >= waits

    def _silent(self, session: Session) -> bool:
        return self.clock() - session.last_used >= _RESTS_AFTER_SECONDS


class AloneHome(_Living):
    """Sessions without a store: any process that has the keys may serve them."""

    def __init__(
        self,
        around: Surroundings,
        limits: SessionSettings,
        instruments: Instruments,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        several: bool,
        met_another: Callable[[], None],
    ) -> None:
        """Take note of what is known of other replicas.

        `several` says that they serve the same sessions, `met_another` is called when one shows itself.
        """
        super().__init__(around, limits, instruments, clock)
        self._wall_clock = wall_clock
        self._met_another = met_another
        self._several = several
        self._began = wall_clock()
        self._mint = b""
        self._parked: dict[bytes, _Known] = {}
        self._ended: OrderedDict[bytes, float] = OrderedDict()

    @property
    def count(self) -> int:
        """How many sessions this process knows to be open."""
        return len(self._living) + len(self._parked)

    @property
    def ends_everywhere(self) -> bool:
        """See `Home`: the end of a session is known to this process alone."""
        return not self._several

    def refuses_new(self, owner: str) -> str | None:
        """See `Home`."""
        if not self.accepting:
            return ENDING
        if self.count >= self.limits.max_sessions:
            return TOO_MANY
        return TOO_MANY_OF_PRINCIPAL if self._owned[owner] >= self.limits.max_sessions_per_principal else None

    def holds(self, record: SessionRecord) -> bool:
        """See `Home`: any process that has the keys will do."""
        return False

    async def admit(self, name: str, record: SessionRecord, opening: Session) -> Session | Refused:
        """See `Home`."""
        self._mint = record.mint
        self._count_in(record)
        self._living[record.key] = opening
        return opening

    async def locate(self, name: str, record: SessionRecord, http: HttpExchange, dead: Held | None = None) -> Located:
        """See `Home`."""
        session = self._living.get(record.key)
        if session is not None:
            return session
        if record.key in self._ended:
            return Gone()
        if self._parked.pop(record.key, None) is None:
            reason = self.refuses_new(record.owner)
            if reason not in (None, ENDING):
                return Refused(reason)
            self._count_in(record)
            if not self._several and record.mint != self._mint and record.created > self._began:
                self._several = True
                self._met_another()
        return self._make(name, record)

    async def end(self, session: Session) -> None:
        """See `Home`."""
        if self._living.pop(session.record.key, None) is not None:
            self._bury(session.record.key, session.record)
            await session.close()

    async def rest(self, session: Session) -> None:
        """See `Home`: any process may serve it as it is."""

    async def tend(self) -> None:
        """See `Home`."""
        latest = self.clock() - self.limits.idle_timeout_seconds
        for session in self.sessions():
            if session.last_used < latest and not session.in_use:
                await self.end(session)
            elif self._rested(session):
                self._park(session)
            elif self._silent(session):
                session.rest()
        for key, known in list(self._parked.items()):
            if known.last_used < latest:
                del self._parked[key]
                self._bury(key, known)
        now = self._wall_clock()
        while self._ended and (len(self._ended) > _MOST_ENDED or next(iter(self._ended.values())) < now):
            self._ended.popitem(last=False)

    async def leave(self) -> None:
        """Nothing is held for anybody: the next process makes them again."""
        for session in self.sessions():
            if session.reader is not None:
                session.reader.end()

    async def close(self) -> None:
        """See `Home`: what a session left in this process goes with it."""
        for session in self.sessions():
            del self._living[session.record.key]
            self._count_out(session.record, seconds=self._wall_clock() - session.record.created)
            await session.close()

    def _park(self, session: Session) -> None:
        record = session.record
        del self._living[record.key]
        self._parked[_copy(record.key)] = _Known(intern(record.owner), intern(record.version), record.created, session.last_used)
        session.rest()

    def _bury(self, key: bytes, was: SessionRecord | _Known) -> None:
        self._ended[_copy(key)] = was.created + self.limits.lifetime_seconds
        self._count_out(was, seconds=self._wall_clock() - was.created)


def _batches(sessions: list[Session]) -> Iterator[list[Session]]:
    for begin in range(0, len(sessions), _AT_ONCE):
        yield sessions[begin : begin + _AT_ONCE]


def _copy(key: bytes) -> bytes:
    """The same bytes in a place of their own: what outlives a session must not hold the memory around it."""
    return bytes(bytearray(key))


class SharedHome(_Living):
    """Sessions with a store: one owner at a time."""

    def __init__(
        self,
        around: Surroundings,
        limits: SessionSettings,
        instruments: Instruments,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        store: SessionStore,
        adopt: Callable[[Session, Owned, HttpExchange], None],
    ) -> None:
        """Args: `adopt` is called for each session that this process has claimed, before its first request."""
        super().__init__(around, limits, instruments, clock)
        self._wall_clock = wall_clock
        self._store = store
        self._adopt = adopt
        self._routes: OrderedDict[bytes, Held] = OrderedDict()
        self._claims: dict[bytes, asyncio.Task[Located]] = {}

    @property
    def count(self) -> int:
        """How many sessions this process owns."""
        return len(self._living)

    @property
    def ends_everywhere(self) -> bool:
        """See `Home`."""
        return True

    def refuses_new(self, owner: str) -> str | None:
        """See `Home`; the principal's share is counted in the store."""
        if not self.accepting:
            return ENDING
        return TOO_MANY if len(self._living) >= self.limits.max_sessions else None

    def holds(self, record: SessionRecord) -> bool:
        """See `Home`."""
        return self.owned(record) is not None

    async def admit(self, name: str, record: SessionRecord, opening: Session) -> Session | Refused:
        """See `Home`."""
        if not await self._store.admit(record.tag, record.owner):
            return Refused(TOO_MANY_OF_PRINCIPAL)
        try:
            lease = await self._store.create(record.tag)
        except StoreUnavailable:
            with suppress(StoreUnavailable):  # then it counts until the idle timeout
                await self._store.forget(record.tag, record.owner)
            raise
        self._count_in(record)
        opening.own(lease)
        self._living[record.key] = opening
        return opening

    def owned(self, record: SessionRecord) -> Session | None:
        """A session that this process owns already."""
        session = self._living.get(record.key)
        if session is None:
            return None
        if session.lease is not None and session.lease.valid:
            return session
        self._forget(session)
        return None

    async def locate(self, name: str, record: SessionRecord, http: HttpExchange, dead: Held | None = None) -> Located:
        """See `Home`."""
        session = self.owned(record)
        if session is not None:
            return session
        if dead is None and (route := self._routes.get(record.key)) is not None:
            return route
        claim = self._claims.get(record.key)
        if claim is None:
            claim = self._claims[record.key] = asyncio.create_task(self._claim(name, record, http, dead))
            claim.add_done_callback(partial(self._claimed, record.key))
        return await asyncio.shield(claim)

    def _claimed(self, key: bytes, claim: asyncio.Task[Located]) -> None:
        self._claims.pop(key, None)
        if not claim.cancelled():
            claim.exception()  # whoever waited has it; where nobody waits any more, nobody has to

    async def _claim(self, name: str, record: SessionRecord, http: HttpExchange, dead: Held | None) -> Located:
        self._routes.pop(record.key, None)
        match await self._store.claim(record.tag, dead):
            case Absent():
                return Gone()
            case Held() as held:
                self._routes[record.key] = held
                if len(self._routes) > _MOST_ROUTES:
                    self._routes.popitem(last=False)
                return held
            case Owned() as owned:
                session = self._make(name, record, owned.lease)
                self._count_in(record)
                if owned.succeeds:
                    self._instruments.taken_over()
                    log.info("session.taken_over", session=record.tag[:8], epoch=owned.lease.epoch, calls=len(owned.calls))
                self._adopt(session, owned, http)
                return session

    async def end(self, session: Session) -> None:
        """See `Home`."""
        if session.lease is not None:
            await session.lease.finish()
            with suppress(StoreUnavailable):  # it counts for its principal until it would have expired
                await self._store.forget(session.record.tag, session.owner)
        if self._living.pop(session.record.key, None) is not None:
            self._count_out(session.record, seconds=self._wall_clock() - session.record.created)
        await session.close()

    async def rest(self, session: Session) -> None:
        """See `Home`."""
        if session.idle and self._living.get(session.record.key) is session:
            with suppress(Fenced, StoreUnavailable):  # it is somebody else's already, or comes back here for once
                await self._hand_over(session)

    async def tend(self) -> None:
        """See `Home`."""
        due = [session for session in self.sessions() if self._due(session) is not None]
        for some in _batches(due):
            if not all(await asyncio.gather(*map(self._tend, some))):
                return  # nothing is lost: it expires by itself, or is tended the next time

    def _due(self, session: Session) -> Callable[[Session], Awaitable[None]] | None:
        """What the store has to hear of a session now; what it has not to hear of is done."""
        now, timeout = self.clock(), self.limits.idle_timeout_seconds
        if session.lease is not None and not session.lease.valid:
            self._forget(session)  # somebody else has it: its client is to come back, and what waits here waits in vain
        elif session.last_used < now - timeout and not session.in_use:
            return self.end
        elif self._rested(session):
            return self._hand_over
        elif now - session.last_kept > timeout / _KEEPS_A_TIMEOUT:
            return self._keep
        elif self._silent(session):
            session.rest()
        return None

    async def _tend(self, session: Session) -> bool:
        """Do what is due, which may be less by now; False when the store is out."""
        todo = self._due(session) if self._living.get(session.record.key) is session else None
        try:
            if todo is not None:
                await todo(session)
        except Fenced:
            self._forget(session)
        except StoreUnavailable:
            return False
        return True

    async def _keep(self, session: Session) -> None:
        session.last_kept = self.clock()
        if session.lease is not None:
            await session.lease.keep()
            await self._store.admit(session.record.tag, session.owner)

    async def leave(self) -> None:
        """See `Home`: what is idle belongs to whoever asks for it next."""
        for session in self.sessions():
            if session.reader is not None:
                session.reader.end()
        for some in _batches([session for session in self.sessions() if not session.calls]):
            await asyncio.gather(*map(self._leave, some))

    async def _leave(self, session: Session) -> None:
        if not session.calls and self._living.get(session.record.key) is session:
            try:
                await self._hand_over(session)
            except (Fenced, StoreUnavailable):
                return  # it is taken over when this process is gone

    async def close(self) -> None:
        """See `Home`: sessions whose calls were cut short are taken over, and their calls with them."""
        await self.leave()
        self.lapse()

    async def _hand_over(self, session: Session) -> None:
        """Release a session; whoever asks for it meanwhile claims it anew, under an epoch that fences this release."""
        self._drop(session)
        try:
            if session.lease is not None:
                await session.lease.release()
        finally:
            session.let_go()

    def lapse(self) -> None:
        """This process may own nothing any more."""
        for session in self.sessions():
            self._forget(session)
        self._routes.clear()

    def _forget(self, session: Session) -> None:
        session.let_go()
        self._drop(session)

    def _drop(self, session: Session) -> None:
        if self._living.get(session.record.key) is session:
            del self._living[session.record.key]
            self._count_out(session.record, seconds=None)

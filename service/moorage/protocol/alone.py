"""Sessions without a store: any process that has the keys may serve them.

What a process knows of a session is when it was last used here, and that it has ended here. Promises that both are bounded.

Source: docs/decisions/2026-11-24-session-identity.md, items 4 and 6
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from sys import intern
from typing import TYPE_CHECKING, Final

from moorage.protocol.home import Gone, Known, Living, Located
from moorage.protocol.refusals import ENDING, SESSIONS_OF_PRINCIPAL, Refusal
from moorage.protocol.session import Session, Surroundings

if TYPE_CHECKING:
    from moorage.protocol.exchange import HttpExchange
    from moorage.sessions.identity import SessionRecord
    from moorage.settings import SessionSettings
    from moorage.store.sessions import Held
    from moorage.telemetry.instruments import Instruments

_MOST_ENDED: Final = 100_000
"""Ended sessions that are remembered; the oldest are forgotten first."""


class AloneHome(Living):
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
        outlives: bool,
        met_another: Callable[[], None],
    ) -> None:
        """Take note of what is known of other replicas.

        `several` says that they serve the same sessions, `met_another` is called when one shows itself. `outlives` says that ids
        open in the next process, too, which would not know that a session has ended.
        """
        super().__init__(around, limits, instruments, clock)
        self._wall_clock = wall_clock
        self._met_another = met_another
        self._several = several
        self._outlives = outlives
        self._began = wall_clock()
        self._mint = b""
        self._parked: dict[bytes, Known] = {}
        self._ended: OrderedDict[bytes, float] = OrderedDict()  # no memo: a session whose end is forgotten early lives again

    @property
    def count(self) -> int:
        """How many sessions this process knows to be open."""
        return len(self._living) + len(self._parked)

    @property
    def ends_everywhere(self) -> bool:
        """See `Home`: the end of a session is known to this process alone."""
        return not (self._several or self._outlives)

    def refuses_new(self, owner: str) -> Refusal | None:
        """See `Home`."""
        return self._refuses(owner) if self.accepting else ENDING

    def _refuses(self, owner: str) -> Refusal | None:
        held = self._owned[owner]
        refusal = self.around.budgets.refuses_session(self.count, held)
        return SESSIONS_OF_PRINCIPAL if refusal is None and held >= self.limits.max_sessions_per_principal else refusal

    def holds(self, record: SessionRecord) -> bool:
        """See `Home`: any process that has the keys will do."""
        return False

    async def admit(self, name: str, record: SessionRecord, opening: Session) -> Session | Refusal:
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
            refusal = self._refuses(record.owner)
            if refusal is not None:
                return refusal
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
        self._end_unheard_questions()
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

    def compact(self) -> None:
        """See `Home`: of what many sessions left behind, each took a place among what was alive then."""
        super().compact()
        parked, ended = self._parked.items(), self._ended.items()
        self._parked = {_copy(key): Known(known.owner, known.version, 0.0 + known.created, 0.0 + known.last_used) for key, known in parked}
        self._ended = OrderedDict((_copy(key), 0.0 + until) for key, until in ended)  # a sum is a new object

    def _park(self, session: Session) -> None:
        record = session.record
        del self._living[record.key]
        self._parked[_copy(record.key)] = Known(intern(record.owner), intern(record.version), record.created, session.last_used)
        session.rest()

    def _bury(self, key: bytes, was: SessionRecord | Known) -> None:
        self._ended[_copy(key)] = was.created + self.limits.lifetime_seconds
        self._count_out(was, seconds=self._wall_clock() - was.created)


def _copy(key: bytes) -> bytes:
    """The same bytes in a place of their own: what outlives a session must not hold the memory around it."""
    return bytes(bytearray(key))

"""Where sessions live, and how the others are found.

Every session can be made from its id, so living in a process is a matter of convenience: a session is made when a request for it arrives,
and dropped when it has been idle for a while. Two kinds of `Home` share that: `alone` has no store, `shared` has one.

Source: docs/decisions/2026-11-24-session-identity.md, 2026-11-24-ownership.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from moorage.protocol.refusals import Refusal
from moorage.protocol.session import Session, Surroundings
from moorage.store.sessions import Held

if TYPE_CHECKING:
    from moorage.protocol.exchange import HttpExchange
    from moorage.sessions.identity import SessionRecord
    from moorage.settings import SessionSettings
    from moorage.store.sessions import Lease
    from moorage.telemetry.instruments import Instruments

_RESTS_AFTER_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Gone:
    """No session: it has ended, or never was."""


Located = Session | Held | Gone | Refusal
IsAlive = Callable[[str], Awaitable[bool]]


class Passed(Enum):
    """What became of a request that was passed on to a session's owner."""

    ANSWERED = "the owner has answered, or the client has left"
    GONE = "the owner did not get the request, and will not: it is dead, or owns the session no more"
    SILENT = "the owner could not be reached in time, and may live"
    LOST = "the owner had the request and was lost before it answered"
    DEAD = "the owner had the request, did not answer, and is known to the store no more"


class Home(Protocol):
    """Where sessions live."""

    accepting: bool
    """Whether sessions are kept for longer than their requests; a drain ends that."""

    @property
    def count(self) -> int:
        """How many sessions this process knows to be open."""
        ...

    @property
    def living(self) -> int:
        """How many sessions are in memory."""
        ...

    def sessions(self) -> Iterator[Session]:
        """Those that are in memory."""
        ...

    def compact(self) -> None:
        """Many sessions have gone: let what is kept stand close together."""
        ...

    @property
    def ends_everywhere(self) -> bool:
        """Whether a session that is ended here is ended for every replica."""
        ...

    def refuses_new(self, owner: str) -> Refusal | None:
        """Why no session of this principal can be opened now, if there is a reason."""
        ...

    def holds(self, record: SessionRecord) -> bool:
        """Whether a session can be served by no other process."""
        ...

    async def admit(self, name: str, record: SessionRecord, opening: Session) -> Session | Refusal:
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
class Known:
    """What is left of a session that is not in memory: its id has the rest."""

    owner: str
    version: str
    created: float
    last_used: float


class Living:
    """What both kinds of home keep of the sessions in memory."""

    def __init__(self, around: Surroundings, limits: SessionSettings, instruments: Instruments, clock: Callable[[], float]) -> None:
        self.around = around
        self.limits = limits
        self.clock = clock
        self.accepting = True
        self._instruments = instruments
        self._living: dict[bytes, Session] = {}
        self._owned: Counter[str] = Counter()

    @property
    def living(self) -> int:
        """How many sessions are in memory."""
        return len(self._living)

    def compact(self) -> None:
        """See `Home`."""
        self._living = dict(self._living)

    def sessions(self) -> Iterator[Session]:
        """Those that are in memory."""
        return iter(list(self._living.values()))

    def _make(self, name: str, record: SessionRecord, lease: Lease | None = None) -> Session:
        session = Session(self.around, name, record, lease, self.clock())
        self._living[record.key] = session
        return session

    def _count_in(self, record: SessionRecord) -> None:
        self._owned[record.owner] += 1
        self._instruments.session_opened(record.version)

    def _count_out(self, record: SessionRecord | Known, *, seconds: float | None) -> None:
        """Count a session out; `seconds` is its age if it has ended, None if it only lives elsewhere now."""
        self._owned[record.owner] -= 1
        if not self._owned[record.owner]:
            del self._owned[record.owner]
        if seconds is None:
            self._instruments.session_left(record.version)
        else:
            self._instruments.session_closed(record.version, max(0.0, seconds))

    def _end_unheard_questions(self) -> None:
        """Questions that no stream could carry for a whole gap end, so that the calls that wait for them do."""
        now = self.clock()
        for session in self._living.values():
            session.end_unheard_questions(now)

    def _rested(self, session: Session) -> bool:
        waits = self.limits.park_after_seconds if self.accepting else 0.0
        return session.idle and self.clock() - session.last_used >= waits

    def _silent(self, session: Session) -> bool:
        return self.clock() - session.last_used >= _RESTS_AFTER_SECONDS

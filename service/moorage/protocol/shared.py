"""Sessions with a store: one owner at a time.

A process owns what it serves, sends the rest to its owner, takes over from owners that are lost, and hands over what is idle and when it
drains.

Source: docs/decisions/2026-11-24-ownership.md
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from moorage.memo import BoundedMemo
from moorage.protocol.home import Gone, Living, Located
from moorage.protocol.refusals import ENDING, SESSIONS, SESSIONS_OF_PRINCIPAL, Refusal
from moorage.protocol.session import Session, Surroundings
from moorage.store.outage import StoreUnavailable
from moorage.store.sessions import Absent, Crowded, Fenced, Held, Owned, SessionStore

if TYPE_CHECKING:
    from moorage.lifecycle.supervised import TaskName
    from moorage.protocol.exchange import HttpExchange
    from moorage.sessions.identity import SessionRecord
    from moorage.settings import SessionSettings
    from moorage.telemetry.instruments import Instruments

_ROUTES: Final = 10_000
_ROUTES_BYTES: Final = 8 * 1024 * 1024
_ROUTE_BYTES: Final = 256
"""Of one, beside its texts."""

_KEEPS_A_TIMEOUT: Final = 3

_AT_ONCE: Final = 16
"""Sessions that are tended at the same time: one after another, each would wait for a turn of a busy loop and for the store."""

log = structlog.get_logger("moorage.protocol")

T = TypeVar("T")
Moved = Callable[[str, int], Awaitable[None]]


class SharedHome(Living):
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
        tell_moved: Moved,
    ) -> None:
        """Take note of how others hear of what happens here.

        `adopt` is called for each session that this process has claimed, before its first request; `tell_moved` tells an owner
        that lives that it was succeeded.
        """
        super().__init__(around, limits, instruments, clock)
        self._wall_clock = wall_clock
        self._store = store
        self._adopt = adopt
        self._tell_moved = tell_moved
        self._routes: BoundedMemo[bytes, Held] = BoundedMemo(entries=_ROUTES, max_bytes=_ROUTES_BYTES)
        self._claims: dict[bytes, asyncio.Task[Located]] = {}
        self._arriving = 0

    @property
    def count(self) -> int:
        """How many sessions this process owns."""
        return len(self._living)

    @property
    def ends_everywhere(self) -> bool:
        """See `Home`."""
        return True

    def refuses_new(self, owner: str) -> Refusal | None:
        """See `Home`; the principal's share is counted in the store."""
        if not self.accepting:
            return ENDING
        return self._refuses_another(owner)

    def _refuses_another(self, owner: str) -> Refusal | None:
        """Why there is no room for one session more, if there is a reason; those that are on their way here take room as well."""
        coming = len(self._claims) + self._arriving
        return self.around.budgets.refuses_session(len(self._living) + coming, self._owned[owner])

    def holds(self, record: SessionRecord) -> bool:
        """See `Home`."""
        return self.owned(record) is not None

    async def admit(self, name: str, record: SessionRecord, opening: Session) -> Session | Refusal:
        """See `Home`."""
        refusal = self._refuses_another(record.owner)  # others may have come while its handshake ran
        if refusal is not None:
            return refusal
        self._arriving += 1
        try:
            return await self._let_in(record, opening)
        finally:
            self._arriving -= 1

    async def _let_in(self, record: SessionRecord, opening: Session) -> Session | Refusal:
        if not await self._store.admit(record.tag, record.owner):
            return SESSIONS_OF_PRINCIPAL
        try:
            lease = await self._store.create(record.tag, record.owner)
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
            work = partial(self._claim_once, name, record, http, dead, self._refuses_another(record.owner))
            claim = self._claims[record.key] = self.around.background.contained("session-claim", work, expected=(StoreUnavailable,))
        return await asyncio.shield(claim)

    async def _claim_once(
        self, name: str, record: SessionRecord, http: HttpExchange, dead: Held | None, refusal: Refusal | None
    ) -> Located:
        try:
            return await self._claim(name, record, http, dead, refusal)
        finally:
            self._claims.pop(record.key, None)

    async def _claim(self, name: str, record: SessionRecord, http: HttpExchange, dead: Held | None, refusal: Refusal | None) -> Located:
        """Own a session, or learn who does; `refusal` says why it cannot live here, should it be free."""
        self._routes.discard(record.key)
        match await self._store.claim(record.tag, dead, principal=record.owner, room=refusal is None):
            case Absent():
                return Gone()
            case Crowded():
                return refusal or SESSIONS
            case Held() as held:
                return self._routes.put(record.key, held, _ROUTE_BYTES + len(held.owner) + len(held.address))
            case Owned() as owned:
                session = self._make(name, record, owned.lease)
                self._count_in(record)
                self.around.background.contained("session-announce", partial(self._announce, record, owned.lease.epoch, dead))
                if owned.succeeds:
                    self._instruments.taken_over()
                    log.info("session.taken_over", session=record.tag[:8], epoch=owned.lease.epoch, calls=len(owned.calls))
                self._adopt(session, owned, http)
                return session

    async def _announce(self, record: SessionRecord, epoch: int, dead: Held | None) -> None:
        """Have the session count for its principal, and its last owner know, should it live, that it owns the session no more."""
        with suppress(StoreUnavailable):
            await self._store.admit(record.tag, record.owner)
            if dead is not None and await self._store.owner.is_alive(dead.owner):
                await self._tell_moved(record.tag, epoch)

    def moved(self, tag: str, epoch: int) -> None:
        """Somebody owns a session since this epoch."""
        session = self._living.get(base64.urlsafe_b64decode(tag + "=="))
        if session is not None and session.lease is not None and session.lease.epoch < epoch:
            log.info("session.moved", session=tag[:8], epoch=epoch)
            self._forget(session)

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
        self._end_unheard_questions()
        due = [session for session in self.sessions() if self._due(session) is not None]
        for some in _batches(due):
            work = [self._beside("session-tend", session, self._tend) for session in some]
            await asyncio.wait(work)
            if any(not task.cancelled() and task.exception() is None and not task.result() for task in work):
                return  # nothing is lost: it expires by itself, or is tended the next time

    def _beside(self, name: TaskName, session: Session, work: Callable[[Session], Awaitable[T]]) -> asyncio.Task[T]:
        """Run work on one session; a fault of it makes this process let go of that session, and of no other."""
        return self.around.background.contained(name, partial(work, session), on_fault=partial(self._forget, session))

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
            if session.subscriptions is not None:
                await session.subscriptions.save(session.lease)

    async def leave(self) -> None:
        """See `Home`: what is idle belongs to whoever asks for it next."""
        for session in self.sessions():
            if session.reader is not None:
                session.reader.end()
        for some in _batches([session for session in self.sessions() if not session.calls]):
            await asyncio.wait([self._beside("session-hand-over", session, self._leave) for session in some])

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


def _batches(sessions: list[Session]) -> Iterator[list[Session]]:
    for begin in range(0, len(sessions), _AT_ONCE):
        yield sessions[begin : begin + _AT_ONCE]

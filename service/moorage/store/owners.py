"""That this process is alive, as the other replicas see it.

An `Owner` refreshes one key in the store; all its sessions hang on that. Promises that it counts itself as dead before anybody else does:
its own limit runs from before a refresh was sent, and is shorter than the key's life on the store's clock. After a lapse it goes on under a
new id. A store that refuses something of what sessions need counts as out, with its reason, until it lets its user do all of it. Also tells
the store's time, so that what crosses replicas does not depend on their clocks.

Source: docs/decisions/2026-11-24-ownership.md
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from moorage.store.outage import StoreUnavailable, Unreadable

if TYPE_CHECKING:
    from moorage.store.client import Store
    from moorage.store.seals import Seals

_OWN_SHARE: Final = 0.8
"""Of a lease, how long an owner trusts it without a refresh."""

_BEATS_A_LEASE: Final = 5
_RETRY_SECONDS: Final = 0.25

log = structlog.get_logger("moorage.store")


class Owner:
    """This process as an owner of sessions.

    Args:
        store: Where it is told.
        lease_seconds: How long others believe it (`sessions.lease_seconds`).
        on_lapse: Called when this process has to count itself as dead.
        seals: What seals its entry.
    """

    def __init__(self, store: Store, lease_seconds: float, on_lapse: Callable[[], None], seals: Seals) -> None:
        self._store = store
        self.seals = seals
        self._lease = lease_seconds
        self._on_lapse = on_lapse
        self._good_until = 0.0
        self._ahead = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self.id = _new_id()
        self.address = ""

    @property
    def alive(self) -> bool:
        """Whether others still have to believe that this process owns what it owned."""
        return asyncio.get_running_loop().time() < self._good_until

    @property
    def entry(self) -> bytes:
        """What others are told of this process, sealed."""
        return self.seals.entry(self.id, self.address)

    def store_time(self) -> float:
        """The store's clock, in seconds."""
        return asyncio.get_running_loop().time() + self._ahead

    async def begin(self, address: str) -> bool:
        """Become known under the address of the relay door; False when the store does not answer (`beat_forever` goes on trying)."""
        self.address = address
        self._store.untried = True
        return await self._beat()

    async def beat_forever(self) -> None:
        """Refresh, at once and as long as the process serves: after a fault it is begun again, when much of the lease has passed."""
        while True:
            await self._beat()
            await asyncio.sleep(self._lease / _BEATS_A_LEASE if self._store.available else _RETRY_SECONDS)

    async def is_alive(self, owner: str) -> bool:
        """Whether another owner's key still stands; one that nobody of us has sealed does not.

        Raises:
            StoreUnavailable.
        """
        try:
            entry = await self._store.command("GET", self._key(owner))
        except Unreadable as error:
            self._store.oddities.skip("owner", str(error))
            return False
        if entry is None:
            return False
        if self.seals.address(owner, entry) is None:
            self._store.oddities.skip("owner", "it was not sealed with a key of this ring")
            return False
        return True

    async def resign(self) -> None:
        """Take the key away: whoever waits for this process to die need not."""
        if self._watch is not None:
            self._watch.cancel()
        self._good_until = 0.0
        try:
            await self._store.command("DEL", self._key(self.id))
        except StoreUnavailable:
            return  # it expires by itself

    async def _beat(self) -> bool:
        loop = asyncio.get_running_loop()
        sent, known = loop.time(), self.id
        try:
            if self._store.untried:
                await self._store.try_all()
            milliseconds = await self._store.insist("beat", (self._key(known),), self.entry, int(self._lease * 1000))
        except StoreUnavailable as error:
            self._tell(available=False, reason=str(error))
            return False
        if known != self.id:  # lapsed while waiting: that id is given up
            return await self._beat()
        self._ahead = milliseconds / 1000 - loop.time()
        self._good_until = sent + _OWN_SHARE * self._lease
        if self._watch is not None:
            self._watch.cancel()
        self._watch = loop.call_at(self._good_until, self._lapse)
        self._tell(available=True, reason="")
        return True

    def _lapse(self) -> None:
        self._good_until = 0.0
        self._watch = None
        lost, self.id = self.id, _new_id()
        log.warning("owner.lapsed", owner=lost, effect="sessions are left to other replicas until the store answers")
        self._on_lapse()

    def _tell(self, *, available: bool, reason: str) -> None:
        if available != self._store.available:
            self._store.available = available
            if available:
                log.info("store.back")
            else:
                log.warning("store.out", reason=reason, effect="legacy sessions are answered with 503; modern calls go on")

    def _key(self, owner: str) -> str:
        return self._store.key("owner", owner)


def _new_id() -> str:
    return secrets.token_hex(8)

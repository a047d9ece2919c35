"""What a process with a store has beside one without: itself as an owner, the way to other owners, and the bus.

Source: docs/decisions/2026-11-24-ownership.md, 2026-11-24-relay.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from moorage.protocol import forward
from moorage.sessions.hop import PURPOSE as RELAY_HOP
from moorage.sessions.hop import Hops
from moorage.sessions.relay import Relay
from moorage.store.bus import Bus
from moorage.store.client import Store
from moorage.store.outage import StoreUnavailable
from moorage.store.owners import Owner
from moorage.store.seals import PURPOSE as STORE
from moorage.store.seals import Seals
from moorage.store.sessions import SessionStore
from moorage.telemetry.instruments import StoreState

if TYPE_CHECKING:
    from moorage.lifecycle.supervised import Scope
    from moorage.protocol.exchange import HttpExchange
    from moorage.protocol.home import Passed
    from moorage.security.keyring import SealingKeys
    from moorage.settings import Settings
    from moorage.store.bus import Notice
    from moorage.store.sessions import Held

_SILENT_PINGS: Final = 3
_SILENT_JSON_SECONDS: Final = 600.0
_BELIEVED_SECONDS: Final = 1.0
_LOOK_AGAIN_SECONDS: Final = 1.0
_RINGS_EVERY_SECONDS: Final = 5.0
_MARK_SECONDS: Final = 30.0
_MOST_MARKS: Final = 256
"""More replicas than that show some of their rings."""

_OLDEST_STORE: Final = 7
"""The first major release of Redis whose scripts say that they may run in a full store; every Valkey can."""

NO_EVICTION: Final = "noeviction"

log = structlog.get_logger("moorage.store")


class Replication:
    """One process among others.

    Attributes:
        owner: This process, as the others see it.
        sessions: The sessions that they share.
        bus: The change notices between them.
        hops: What proves a request of another replica.
        underway: The exchanges that are with other owners now.
        address: Where the relay door is; to be set before the start.
        on_lapse: Called when this process has to count itself as dead.
        evicts: The store's eviction policy, where it is one that loses sessions.
        outdated: What is wrong with the store's release, if something is.
        other_rings: How many others at our prefix have a ring that ours does not know.
    """

    def __init__(self, settings: Settings, keys: SealingKeys) -> None:
        """Raises: SettingsError: The settings name no usable store."""
        self._lease_seconds = settings.sessions.lease_seconds
        self.store = Store(settings.store)
        self.seals = Seals(keys.sealer(STORE))
        self.owner = Owner(self.store, settings.sessions.lease_seconds, self._lapsed, self.seals)
        self.bus = Bus(self.store, lambda _: None)
        self.sessions = SessionStore(self.store, self.owner, settings.sessions, present=lambda: self.bus.position)
        self.hops = Hops(keys.sealer(RELAY_HOP), self.owner.store_time)
        self.underway = forward.Underway()
        self.address = ""
        self.on_lapse: Callable[[], None] = lambda: None
        self.evicts = ""
        self.outdated = ""
        self.other_rings = 0
        self._mark: bytes | None = None
        silence = _SILENT_JSON_SECONDS if settings.http.json_responses else _SILENT_PINGS * settings.http.ping_seconds
        self._relay_options: dict[str, Any] = {"connect_seconds": settings.relay.connect_seconds, "silence_seconds": silence}
        self._relay: Relay | None = None
        self._believed: dict[str, float] = {}  # no memo: the owners are replicas of the last seconds, never a client's choice

    async def start(self, background: Scope, receive: Callable[[Notice], None]) -> None:
        """Become known, and begin to hear; a store that does not answer yet is tried again until it does."""
        self._relay = Relay(self.hops, **self._relay_options)
        self.bus.receive = receive
        await self.owner.begin(self.address)
        background.restarted("store-beat", self.owner.beat_forever)
        background.restarted("store-policy", self._look_around)
        background.restarted("store-bus", self.bus.listen_forever)

    async def close(self) -> None:
        """Stop being an owner."""
        await self.owner.resign()
        if self._relay is not None:
            await self._relay.close()
        await self.store.close()

    async def forward(self, held: Held, http: HttpExchange) -> Passed:
        """Pass an exchange on to the owner of its session."""
        assert self._relay is not None  # noqa: S101 - nothing is served before the start
        return await forward.forward(
            self._relay, held, http, watch_seconds=self._lease_seconds, is_alive=self._believes, underway=self.underway
        )

    async def _believes(self, owner: str) -> bool:
        """Whether another owner lives; that it does holds for a moment, since thousands of exchanges may wait for one owner.

        Raises:
            StoreUnavailable.
        """
        now = asyncio.get_running_loop().time()
        if self._believed.get(owner, 0.0) > now:
            return True
        alive = await self.owner.is_alive(owner)
        if alive:
            self._believed = {known: until for known, until in self._believed.items() if until > now}
            self._believed[owner] = now + _BELIEVED_SECONDS
        return alive

    def _lapsed(self) -> None:
        self.on_lapse()

    def state(self) -> StoreState:
        """What this process knows of the store."""
        return StoreState(self.store.full, self.other_rings, self.sessions.unkept, self.store.oddities.counts)

    def trouble(self) -> str | None:
        """What an operator should know of the store, if there is something."""
        if self.outdated:
            return self.outdated
        if self.store.refusal:
            return f"the store refuses what sessions need ({self.store.refusal}); legacy sessions get 503, modern calls go on"
        if not self.owner.alive:
            return "the store does not answer; legacy sessions get 503, modern calls go on"
        if self.store.full:
            return "the store is full: no session begins and no event is kept; sessions and calls go on"
        if self.other_rings:
            who = "another deployment, or a rotation that is not everywhere"
            return f"{self.other_rings} at the prefix {self.store.prefix!r} have another ring: {who}"
        return f"maxmemory-policy is {self.evicts}, not noeviction: a full store drops sessions" if self.evicts else None

    async def _look_around(self) -> None:
        """Look once at what the store is, as soon as it answers; then, now and then, at who else is there."""
        while True:
            try:
                await self._look_at_store()
                break
            except StoreUnavailable:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        while True:
            with suppress(StoreUnavailable):
                await self._look_at_rings()
            await asyncio.sleep(_RINGS_EVERY_SECONDS)

    async def _look_at_store(self) -> None:
        version = await self.store.version()
        major = version.partition(".")[0]
        if major.isdigit() and int(major) < _OLDEST_STORE:
            self.outdated = f"the store is Redis {version}; {_OLDEST_STORE}.0 or Valkey is needed"
            log.error("store.too_old", version=version, needed=f"Redis {_OLDEST_STORE}.0, or Valkey")
        policy = await self.store.eviction_policy()
        if policy and policy != NO_EVICTION:
            self.evicts = policy
            log.warning("store.evicts", maxmemory_policy=policy, hint="set maxmemory-policy noeviction: a full store would drop sessions")

    async def _look_at_rings(self) -> None:
        """Show our ring, and count the others' that it does not open: another deployment that shares our prefix, or a rotation underway."""
        if self._mark is None or not self.seals.knows(self._mark):
            self._mark = self.seals.mark()
        key = f"{self.store.prefix}:rings"
        marks = await self.store.run("rings", (key,), self._mark, int(_MARK_SECONDS * 1000), _MOST_MARKS)
        others = sum(not self.seals.knows(mark) for mark in marks)
        if others and not self.other_rings:
            log.warning("store.another_ring", marks=others, prefix=self.store.prefix, hint="give each deployment a store.prefix of its own")
        self.other_rings = others

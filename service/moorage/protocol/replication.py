"""What a process with a store has beside one without: itself as an owner, the way to other owners, and the bus.

Source: docs/decisions/2026-11-24-ownership.md, 2026-11-24-relay.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
from moorage.store.sessions import SessionStore

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
    """

    def __init__(self, settings: Settings, keys: SealingKeys) -> None:
        """Raises: SettingsError: The settings name no usable store."""
        self._lease_seconds = settings.sessions.lease_seconds
        self.store = Store(settings.store)
        self.owner = Owner(self.store, settings.sessions.lease_seconds, self._lapsed)
        self.bus = Bus(self.store, lambda _: None)
        self.sessions = SessionStore(self.store, self.owner, settings.sessions, present=lambda: self.bus.position)
        self.hops = Hops(keys.sealer(RELAY_HOP), self.owner.store_time)
        self.underway = forward.Underway()
        self.address = ""
        self.on_lapse: Callable[[], None] = lambda: None
        self.evicts = ""
        silence = _SILENT_JSON_SECONDS if settings.http.json_responses else _SILENT_PINGS * settings.http.ping_seconds
        self._relay_options: dict[str, Any] = {"connect_seconds": settings.relay.connect_seconds, "silence_seconds": silence}
        self._relay: Relay | None = None
        self._believed: dict[str, float] = {}

    async def start(self, background: Scope, receive: Callable[[Notice], None]) -> None:
        """Become known, and begin to hear; a store that does not answer yet is tried again until it does."""
        self._relay = Relay(self.hops, **self._relay_options)
        self.bus.receive = receive
        await self.owner.begin(self.address)
        background.restarted("store-beat", self.owner.beat_forever)
        background.restarted("store-policy", self._look_at_policy)
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

    async def _look_at_policy(self) -> None:
        """Look once, as soon as the store answers."""
        policy: str | None = None
        while policy is None:
            try:
                policy = await self.store.eviction_policy()
            except StoreUnavailable:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        if policy and policy != NO_EVICTION:
            self.evicts = policy
            log.warning("store.evicts", maxmemory_policy=policy, hint="set maxmemory-policy noeviction: a full store would drop sessions")

"""Replicas of one deployment that share a store, in this process; and the store as an operator sees it.

`Place` is a running store of any kind, `Member` what one replica has of it. Every operation of a member is followed by a look at all keys
of the test: one without a time to live fails it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import redis
from pydantic import SecretStr

from moorage.security.keyring import SealingKeys
from moorage.settings import SessionSettings, StoreSettings
from moorage.store.bus import Bus, Notice
from moorage.store.client import Store
from moorage.store.outage import StoreUnavailable
from moorage.store.owners import Owner
from moorage.store.seals import PURPOSE, Seals
from moorage.store.sessions import Claim, Held, Lease, Owned, SessionStore, Write
from tests.services.processes import until

RING = SealingKeys.ephemeral()
"""That all members of a test share, unless one has another."""

WITHIN = 10
"""Seconds that anything here may take; what is waited for takes far less."""


@dataclass
class Place:
    """A running store.

    Attributes:
        url: As `store.url` has it.
        clients: Makes a client of each server that holds keys now.
        ca_file: What its certificate is checked against.
        port: Where the one server of it listens; 0 when there are several.
        steady: Whether the same servers hold the keys all the time.
    """

    url: str
    clients: Callable[[], Sequence[redis.Redis]]
    ca_file: str | None = None
    port: int = 0
    steady: bool = True
    _made: list[redis.Redis] = field(default_factory=list[redis.Redis])

    @property
    def servers(self) -> list[redis.Redis]:
        """A client of each server that holds keys."""
        if not self._made or not self.steady:
            self.close()
            self._made = list(self.clients())
        return self._made

    def close(self) -> None:
        for client in self._made:
            client.close()
        self._made = []

    def keys(self, prefix: str) -> dict[str, int]:
        """The keys that begin with a prefix, and the milliseconds that each still has to live (-1 for ever)."""
        return {key: server.pttl(key) for server in self.servers for key in server.scan_iter(f"{prefix}:*", count=1000)}  # type: ignore[misc]

    def server_of(self, key: str) -> redis.Redis:
        """A client of the server that holds a key."""
        return next(client for client in self.servers if _holds(client, key))

    def now_ms(self) -> int:
        """The clock of the store."""
        seconds, microseconds = self.servers[0].time()  # type: ignore[misc]
        return seconds * 1000 + microseconds // 1000

    def wait_past(self, milliseconds: int) -> None:
        """Return when the store's clock shows more."""
        until(lambda: self.now_ms() > milliseconds, "the store's clock has gone on", WITHIN)

    def wait_gone(self, key: str) -> None:
        """Return when a key has expired."""
        until(lambda: not any(_holds(server, key) for server in self.servers), f"{key} has expired", WITHIN)

    def expire(self, key: str) -> None:
        """Let a key's time run out now."""
        self.server_of(key).pexpire(key, 1)
        self.wait_gone(key)

    def flush(self) -> None:
        """Lose all data, as a store does that is restarted without them."""
        for server in self.servers:
            server.flushall()


def _holds(client: redis.Redis, key: str) -> bool:
    try:
        return bool(client.exists(key))
    except redis.ResponseError:  # a slot of another server
        return False


_ALWAYS = ("beat", "try", "look")
"""What is asked of a store that counts as out, to find out whether it is back."""


class WatchedStore(Store):
    """The store of one member; fails a test that leaves an immortal key.

    Attributes:
        lose_answers: How many scripts run, but seem not to have answered.
    """

    def __init__(self, settings: StoreSettings, place: Place) -> None:
        super().__init__(settings)
        self._place = place
        self.lose_answers = 0

    async def insist(self, name: str, keys: tuple[str, ...], *arguments: str | bytes | int) -> Any:
        answer = await super().insist(name, keys, *arguments)
        self._check(name)
        if self.lose_answers and name not in _ALWAYS:
            self.lose_answers -= 1
            raise StoreUnavailable("the answer was lost")
        self._lose_if_out(name)
        return answer

    async def command(self, *words: str | bytes | int, wait_seconds: float = 0.0) -> Any:
        answer = await super().command(*words, wait_seconds=wait_seconds)
        if words[0] not in ("XREAD", "XRANGE", "XREVRANGE", "EXISTS"):
            self._check(words[0])
        self._lose_if_out("")
        return answer

    def _lose_if_out(self, name: str) -> None:
        """Whoever is out of touch does not hear the answer to what it asked before, either."""
        if not self.available and name not in _ALWAYS:
            raise StoreUnavailable("the answer was lost")

    def _check(self, operation: object) -> None:
        immortal = sorted(key for key, left in self._place.keys(self.prefix).items() if left == -1)
        assert not immortal, f"{operation} left keys without a time to live: {immortal}"


@dataclass
class Member:
    """One replica."""

    store: WatchedStore
    owner: Owner
    sessions: SessionStore
    bus: Bus
    lapses: list[str] = field(default_factory=list[str])
    heard: list[Notice] = field(default_factory=list[Notice])
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(
        cls,
        place: Place,
        prefix: str,
        *,
        lease_seconds: float = 60.0,
        timeout_seconds: float = 5.0,
        ring: SealingKeys | None = None,
        **limits: Any,
    ) -> Member:
        """A member that the store does not know yet."""
        settings = StoreSettings(url=SecretStr(place.url), ca_file=place.ca_file, prefix=prefix, timeout_seconds=timeout_seconds)
        store = WatchedStore(settings, place)
        owner = Owner(store, lease_seconds, lambda: member.note(member.lapses, "lapsed"), Seals((ring or RING).sealer(PURPOSE)))
        sessions = SessionStore(store, owner, limited(**limits))
        member = cls(store, owner, sessions, Bus(store, lambda notice: member.note(member.heard, notice)))
        return member

    def note(self, what: list[Any], item: object) -> None:
        what.append(item)
        self.woken.set()

    async def until(self, condition: Callable[[], object], within: float = WITHIN) -> None:
        """Wait for something that this member hears or does to itself."""
        with anyio.fail_after(within):
            while not condition():
                await self.woken.wait()
                self.woken.clear()

    async def create(self, tag: str) -> Lease:
        return await self.sessions.create(tag)

    async def take(self, tag: str, dead: Held | None = None) -> Owned:
        """Claim a session that can be had."""
        claim = await self.sessions.claim(tag, dead)
        assert isinstance(claim, Owned), claim
        return claim

    def dead(self, lease: Lease) -> Held:
        """What another member has to know to take a lease of this one over."""
        return Held(self.owner.id, lease.epoch, self.owner.address)


def limited(**limits: Any) -> SessionSettings:
    """Limits that may be smaller than a user may set them."""
    return SessionSettings().model_copy(update=limits)


def held(claim: Claim) -> Held:
    assert isinstance(claim, Held), claim
    return claim


async def append(lease: Lease, *writes: Write) -> int:
    """Append as callers have to, under the lease's lock."""
    async with lease.lock:
        return await lease.append(*writes)


def opens(stream: str, text: bytes = b"{}") -> Write:
    return Write("open", stream, text)


def event(stream: str, data: bytes = b"event") -> Write:
    return Write("event", stream, data)


def last(stream: str, data: bytes = b"last") -> Write:
    return Write("last", stream, data)

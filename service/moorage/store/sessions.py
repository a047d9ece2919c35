"""Sessions in the store: who owns one, under which epoch, and its event log.

`SessionStore.claim` answers with a closed union; what is then done with a session is its `Lease`'s (see `lease`). What an owner says of
itself and of its calls is believed only if it was sealed with the ring; a session whose fields are nothing of ours is none.

Source: docs/decisions/2026-11-24-ownership.md, 2026-11-25-store-formats.md
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Final

from moorage.memo import BoundedMemo
from moorage.store.client import FORMAT
from moorage.store.lease import GET_STREAM, Entry, Eras, Fenced, Lease, Tail, Write
from moorage.store.outage import StoreUnavailable, Unreadable

if TYPE_CHECKING:
    from moorage.settings import SessionSettings
    from moorage.store.client import Store
    from moorage.store.owners import Owner

__all__ = ["GET_STREAM", "Absent", "Claim", "Crowded", "Entry", "Fenced", "Held", "Lease", "Owned", "SessionStore", "Tail", "Write"]

_PRINCIPALS: Final = 10_000
_PRINCIPALS_BYTES: Final = 4 * 1024 * 1024
"""Of whom a process remembers how many sessions they have: as many as it may have sessions."""

_TOO_BIG: Final = b"-"
"""Stands for a registration that the session had no room for."""

_MOST_CLAIMS: Final = 3


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no such session, or no more."""


@dataclass(frozen=True, slots=True)
class Crowded:
    """It could be had, and there is no room for it here."""


@dataclass(frozen=True, slots=True)
class Held:
    """Another process owns it, or did when it was last heard of."""

    owner: str
    epoch: int
    address: str


@dataclass(frozen=True, slots=True)
class Owned:
    """This process owns it now.

    Attributes:
        lease: What to write through.
        calls: What registered each call that was streaming when the last owner was lost, by stream.
        unknown: The streams of which nobody knows how they end; they are forgotten already.
        watched: The resources whose changes the client wants to hear of.
        bus: How far its change notices had come.
        streamed: Whether the session ever had a GET stream.
        succeeds: Whether the last owner was lost, and did not hand over.
    """

    lease: Lease
    calls: Mapping[str, bytes]
    unknown: tuple[str, ...]
    watched: frozenset[str]
    bus: str
    streamed: bool
    succeeds: bool


Claim = Absent | Crowded | Held | Owned


class SessionStore:
    """Claims sessions for one owner.

    Args:
        store: Where they are.
        owner: For whom.
        limits: What the store keeps of them, and for how long.
        present: Gives the position of the newest change notice: a new session has missed none.

    Attributes:
        unkept: How many events a full store did not take.
    """

    def __init__(self, store: Store, owner: Owner, limits: SessionSettings, present: Callable[[], str] = str) -> None:
        self.store = store
        self.owner = owner
        self.limits = limits
        self.unkept = 0
        self._present = present
        self._count: BoundedMemo[str, int] = BoundedMemo(entries=_PRINCIPALS, max_bytes=_PRINCIPALS_BYTES)

    async def admit(self, tag: str, principal: str) -> bool:
        """Count a session in for its principal, in the whole deployment; False when there is no room.

        Raises:
            StoreUnavailable.
        """
        most = self.limits.max_sessions_per_principal
        count = await self.store.run("admit", (self._principal(principal),), tag, most, _ms(self.limits.idle_timeout_seconds))
        if count:
            self._count.put(principal, int(count), getsizeof(principal))
        return bool(count)

    def share(self, principal: str) -> int:
        """The bytes that the store may hold of one session: what its principal may have, shared out among the sessions that it has.

        The count is as old as the last session of the principal that was counted here; each begins, moves or is kept alive with a count.
        """
        return self.limits.max_bytes_per_principal // max(1, self._count.get(principal) or 1)

    async def create(self, tag: str, principal: str = "") -> Lease:
        """Own a session that is new.

        Raises:
            StoreUnavailable, StoreFull.
        """
        self._look_alive()
        owner = self.owner
        me, idle = owner.id, _ms(self.limits.idle_timeout_seconds)
        answer = await self.store.run("create", (self.store.key("s", tag),), FORMAT, me, owner.entry, idle)
        if answer[0] != b"owned":
            raise StoreUnavailable("a new session is somebody else's")
        lease = self._owned(tag, principal, me, answer).lease
        lease.bus = self._present()
        return lease

    async def claim(self, tag: str, dead: Held | None = None, *, principal: str = "", room: bool = True) -> Claim:
        """Own a session that is free, or whose owner is known to be dead, if there is `room` for it here.

        Raises:
            StoreUnavailable.
        """
        for _ in range(_MOST_CLAIMS):
            try:
                claim = await self._claim(tag, dead, principal, room=room)
            except (Unreadable, ValueError) as error:
                await self.bury(tag, str(error) if isinstance(error, Unreadable) else "a field is none of ours")
                return Absent()
            if isinstance(claim, Owned) and claim.unknown:
                with suppress(Fenced):  # then whoever asked finds the lease given up
                    await claim.lease.drop(claim.unknown)
            if not isinstance(claim, Held) or claim.address:
                return claim
            dead = claim  # nobody of us has written that it has an owner
        return Absent()

    async def bury(self, tag: str, reason: str) -> None:
        """End a session whose keys hold what is nothing of ours."""
        self.store.oddities.skip("session", reason)
        with suppress(StoreUnavailable):  # then it is met again, and buried then
            for kind in ("s", "l"):
                await self.store.command("UNLINK", self.store.key(kind, tag))

    async def forget(self, tag: str, principal: str) -> None:
        """Count an ended session out.

        Raises:
            StoreUnavailable.
        """
        await self.store.command("ZREM", self._principal(principal), tag)

    def _look_alive(self) -> None:
        if not self.owner.alive:
            raise StoreUnavailable("this replica is not known to the store at the moment")

    async def _claim(self, tag: str, dead: Held | None, principal: str, *, room: bool) -> Claim:
        """Ask for a session once; a `Held` without an address has an owner that nobody of us knows. Raises ValueError for odd fields."""
        self._look_alive()
        owner = self.owner
        me, idle = owner.id, _ms(self.limits.idle_timeout_seconds)
        believed = (dead.owner, dead.epoch) if dead else ("", 0)
        arguments = (FORMAT, me, owner.entry, idle, *believed, "1" if room else "")
        answer = await self.store.run("claim", (self.store.key("s", tag),), *arguments)
        match answer[0]:
            case b"absent":
                return Absent()
            case b"newer":
                self.store.oddities.skip("session", "it has the format of a later release")
                return Absent()
            case b"full":
                return Crowded()
            case b"held":
                name, epoch = answer[1].decode(), int(answer[2])
                address = owner.seals.address(name, answer[3])
                if address is None:
                    self.store.oddities.skip("owner", "a session's owner was not sealed with a key of this ring")
                return Held(name, epoch, address or "")
            case _:
                return self._owned(tag, principal, me, answer)

    def _owned(self, tag: str, principal: str, me: str, answer: list[Any]) -> Owned:
        """Read a claim that succeeded; raises ValueError for odd fields."""
        fields = dict(zip(answer[2][::2], answer[2][1::2], strict=True))
        lease = Lease(self, tag, principal, me, int(answer[1]), head=int(fields[b"head"]), eras=_eras(fields[b"eras"]))
        calls, unknown, watched = dict[str, bytes](), list[str](), set[str]()
        for name, value in fields.items():
            stream = _STREAM_FIELD.fullmatch(name)
            if stream is not None and name != _GET_FIELD:
                text = self._opened(tag, name, value, "registration") if value != _TOO_BIG else None
                if text is None:
                    unknown.append(stream[1].decode())
                else:
                    calls[stream[1].decode()] = text
            elif _WATCHED_FIELD.fullmatch(name) and (text := self._opened(tag, name, value, "subscription")) is not None:
                watched.add(text.decode())
        succeeds = fields.get(b"owner", b"") not in (b"", me.encode())
        bus = fields.get(b"bus", b"").decode("ascii", "replace")
        return Owned(lease, calls, tuple(unknown), frozenset(watched), bus, _GET_FIELD in fields, succeeds)

    def _opened(self, tag: str, name: bytes, value: bytes, kind: str) -> bytes | None:
        text = self.owner.seals.open(tag, name.decode(), value)
        if text is None:
            self.store.oddities.skip(kind, "it was not sealed for this session with a key of this ring")
        return text

    def _principal(self, name: str) -> str:
        return self.store.key("p", hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32])


_STREAM_FIELD: Final = re.compile(rb"c:([0-9a-z-]{1,32})")
_WATCHED_FIELD: Final = re.compile(rb"w:[0-9a-f]{32}")
_GET_FIELD: Final = f"c:{GET_STREAM}".encode()


def _eras(text: bytes) -> Eras:
    return tuple((int(epoch), int(start)) for epoch, _, start in (era.partition(b":") for era in text.split(b";")))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)

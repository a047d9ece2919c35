"""Sessions in the store: who owns one, under which epoch, and its event log.

`SessionStore.claim` answers with a closed union. A `Lease` is the hand of one owner on one session: each of its writes carries the epoch,
and one that comes under an older epoch raises `Fenced`. A lease's appends have to be made under its `lock`, and so does whatever must not
fall between two of them: that is how history and live events join without a gap.

Source: docs/decisions/2026-11-24-ownership.md, 2026-11-24-event-log.md
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from moorage.store.outage import StoreUnavailable

if TYPE_CHECKING:
    from moorage.settings import SessionSettings
    from moorage.store.client import Store
    from moorage.store.owners import Owner

_RETRY_SECONDS: Final = 0.1


class Fenced(Exception):  # noqa: N818 - an outcome: somebody else owns the session now
    """The session has another owner, or none, or this process had to give it up.

    Attributes:
        unsure: The offset of an event of which nobody knows whether the log has it; 0 when it has not.
    """

    def __init__(self, unsure: int = 0) -> None:
        super().__init__()
        self.unsure = unsure


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no such session, or no more."""


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
        notes: What the last owner noted with `Lease.keep`.
        bus: How far its change notices had come.
        streamed: Whether the session ever had a GET stream.
        succeeds: Whether the last owner was lost, and did not hand over.
    """

    lease: Lease
    calls: Mapping[str, bytes]
    notes: Mapping[str, bytes]
    bus: str
    streamed: bool
    succeeds: bool


Claim = Absent | Held | Owned
Eras = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Write:
    """One step of an append: `open` registers a stream, `event` adds to it, `last` adds and ends it."""

    kind: Literal["open", "event", "last"]
    stream: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in the log."""

    offset: int
    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Tail:
    """What of one stream follows a position.

    Attributes:
        head: Offset of the newest event of the session.
        lost: The highest offset that retention took from this stream; 0 for none.
        newest: The stream's newest offset while it is open; None when it is closed, or had no event yet.
        open: Whether the stream is registered and has not ended.
        entries: The events after the position that are still there.
    """

    head: int
    lost: int
    newest: int | None
    open: bool
    entries: tuple[Entry, ...]


class SessionStore:
    """Claims sessions for one owner.

    Args:
        store: Where they are.
        owner: For whom.
        limits: What the store keeps of them, and for how long.
        present: Gives the position of the newest change notice: a new session has missed none.
    """

    def __init__(self, store: Store, owner: Owner, limits: SessionSettings, present: Callable[[], str] = str) -> None:
        self.store = store
        self.owner = owner
        self.limits = limits
        self._present = present

    async def admit(self, tag: str, principal: str) -> bool:
        """Count a session in for its principal, in the whole deployment; False when there is no room.

        Raises:
            StoreUnavailable.
        """
        most = self.limits.max_sessions_per_principal
        return bool(await self.store.run("admit", (self._principal(principal),), tag, most, _ms(self.limits.idle_timeout_seconds)))

    async def create(self, tag: str) -> Lease:
        """Own a session that is new.

        Raises:
            StoreUnavailable.
        """
        claimed = await self._claim(tag, None, create=True)
        if not isinstance(claimed, Owned):
            raise StoreUnavailable("a new session is somebody else's")
        claimed.lease.bus = self._present()
        return claimed.lease

    async def claim(self, tag: str, dead: Held | None = None) -> Claim:
        """Own a session that is free, or whose owner is known to be dead.

        Raises:
            StoreUnavailable.
        """
        return await self._claim(tag, dead, create=False)

    async def forget(self, tag: str, principal: str) -> None:
        """Count an ended session out.

        Raises:
            StoreUnavailable.
        """
        await self.store.command("ZREM", self._principal(principal), tag)

    async def _claim(self, tag: str, dead: Held | None, *, create: bool) -> Claim:
        owner = self.owner
        if not owner.alive:
            raise StoreUnavailable("this replica is not known to the store at the moment")
        me = owner.id
        answer = await self.store.run(
            "claim",
            (self.store.key("s", tag),),
            me,
            owner.address,
            _ms(self.limits.idle_timeout_seconds),
            dead.owner if dead else "",
            dead.epoch if dead else 0,
            "new" if create else "",
        )
        match answer[0]:
            case b"absent":
                return Absent()
            case b"held":
                return Held(answer[1].decode(), int(answer[2]), answer[3].decode())
            case _:
                fields = {name.decode(): value for name, value in zip(answer[2::2], answer[3::2], strict=True)}
                return self._owned(tag, me, int(answer[1]), fields)

    def _owned(self, tag: str, me: str, epoch: int, fields: Mapping[str, bytes]) -> Owned:
        lease = Lease(self, tag, me, epoch, head=int(fields["head"]), eras=_eras(fields["eras"]))
        calls = {name[2:]: value for name, value in fields.items() if name.startswith("c:") and name != f"c:{GET_STREAM}"}
        notes = {name[2:]: value for name, value in fields.items() if name.startswith("n:")}
        succeeds = fields.get("owner", b"") not in (b"", me.encode())
        return Owned(lease, calls, notes, fields.get("bus", b"").decode(), f"c:{GET_STREAM}" in fields, succeeds)

    def _principal(self, name: str) -> str:
        return self.store.key("p", hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32])


GET_STREAM: Final = "g"
"""The name of a session's GET stream in its log."""


class Lease:
    """One owner's hand on one session.

    Attributes:
        tag: The session.
        epoch: Under which this owner writes.
        eras: The epochs of the session's owners, oldest first, each with the offset that it began after; this owner's is the last.
        bus: How far the change notices of this session have come; written along with each append.
        lock: Held by whoever appends or joins history and live events.
    """

    __slots__ = ("_head", "_owner_id", "_sessions", "bus", "epoch", "eras", "lock", "tag")

    def __init__(self, sessions: SessionStore, tag: str, owner_id: str, epoch: int, *, head: int, eras: Eras) -> None:
        self._sessions = sessions
        self._owner_id = owner_id
        self._head = head
        self.tag = tag
        self.epoch = epoch
        self.eras = eras
        self.bus = ""
        self.lock = asyncio.Lock()

    @property
    def valid(self) -> bool:
        """Whether this process may still act as the owner, as far as it can know without asking."""
        owner = self._sessions.owner
        return owner.id == self._owner_id and owner.alive

    def give_up(self) -> None:
        """Never write again: somebody else owns the session."""
        self._owner_id = ""

    async def append(self, *writes: Write) -> int:
        """Append, in one step; returns the offset of the first event. To be called under `lock`.

        While the store does not answer, this waits as long as the lease holds: an event that was skipped would be a silent gap.

        Raises:
            Fenced.
        """
        limits, first = self._sessions.limits, self._head + 1
        arguments: list[str | bytes | int] = [self.epoch, first, _ms(limits.idle_timeout_seconds), _ms(limits.log_seconds)]
        arguments += [limits.log_events, limits.log_bytes, self.bus]
        for write in writes:
            arguments += [write.kind, write.stream, write.data]
        unsure = 0
        while self.valid:
            try:
                answer = await self._sessions.store.run("append", self._keys(), *arguments)
            except StoreUnavailable:
                unsure = first
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if answer != 1:
                break
            self._head += sum(write.kind != "open" for write in writes)
            return first
        self.give_up()
        raise Fenced(unsure)

    async def read(self, stream: str, after: int) -> Tail:
        """Read what follows a position.

        Raises:
            Fenced, StoreUnavailable.
        """
        self._check()
        answer = await self._sessions.store.run("read", self._keys(), self.epoch, stream, after)
        if answer[0] != 1:
            self.give_up()
            raise Fenced
        rest = answer[5:]
        entries = tuple(
            Entry(int(offset), data, kind == b"last") for offset, kind, data in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
        )
        return Tail(int(answer[1]), int(answer[2] or 0), int(answer[3]) if answer[3] else None, bool(answer[4]), entries)

    async def keep(self, **notes: bytes) -> None:
        """Say that the session is in use, and note what the next owner has to know.

        Raises:
            Fenced, StoreUnavailable.
        """
        self._check()
        fields = [part for name, value in notes.items() for part in (f"n:{name}", value)]
        await self._write("keep", (self._keys()[0],), _ms(self._sessions.limits.idle_timeout_seconds), *fields)

    async def release(self) -> None:
        """Leave the session to whoever claims it next.

        Raises:
            Fenced, StoreUnavailable.
        """
        self._check()
        idle = _ms(self._sessions.limits.idle_timeout_seconds)
        await self._write("keep", (self._keys()[0],), idle, "owner", "", "address", "", "bus", self.bus)
        self.give_up()

    async def finish(self) -> None:
        """End the session and delete what the store has of it.

        Raises:
            Fenced, StoreUnavailable.
        """
        self._check()
        await self._write("finish", self._keys())
        self.give_up()

    async def _write(self, name: str, keys: tuple[str, ...], *arguments: str | bytes | int) -> None:
        if await self._sessions.store.run(name, keys, self.epoch, *arguments) != 1:
            self.give_up()
            raise Fenced

    def _check(self) -> None:
        if not self.valid:
            raise Fenced

    def _keys(self) -> tuple[str, str]:
        store = self._sessions.store
        return store.key("s", self.tag), store.key("l", self.tag)


def _eras(text: bytes) -> Eras:
    return tuple((int(epoch), int(start)) for epoch, _, start in (era.partition(b":") for era in text.split(b";")))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)

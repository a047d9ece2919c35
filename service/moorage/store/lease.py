"""One owner's hand on one session in the store: its event log, and what the next owner has to know.

Each write carries the epoch, and one that comes under an older epoch raises `Fenced`. Appends have to be made under `Lease.lock`, and so
does whatever must not fall between two of them: that is how history and live events join without a gap. Where there is no room for an
event, in the store or in its principal's share, the session goes on as if retention had taken it at once. A session whose fields are
nothing of ours ends.

Source: docs/decisions/2026-11-24-event-log.md, 2026-11-25-store-formats.md
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from moorage.store.outage import StoreFull, StoreUnavailable, Unreadable

if TYPE_CHECKING:
    from moorage.store.sessions import SessionStore

Eras = tuple[tuple[int, int], ...]

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
class Write:
    """One step of an append: `open` registers a stream, `event` adds to it, `last` adds and ends it; `drop` forgets one."""

    kind: Literal["open", "event", "last", "drop"]
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


GET_STREAM: Final = "g"
"""The name of a session's GET stream in its log."""


def watched_field(uri: str) -> str:
    """Where a subscription stands; of one length, whatever the URI has."""
    return f"w:{hashlib.sha256(uri.encode()).hexdigest()[:32]}"


class Lease:
    """One owner's hand on one session.

    Attributes:
        tag: The session.
        principal: Whose it is.
        epoch: Under which this owner writes.
        eras: The epochs of the session's owners, oldest first, each with the offset that it began after; this owner's is the last.
        bus: How far the change notices of this session have come; written along with each append.
        lock: Held by whoever appends or joins history and live events.
    """

    __slots__ = ("_head", "_owner_id", "_sessions", "bus", "epoch", "eras", "lock", "principal", "tag")

    def __init__(self, sessions: SessionStore, tag: str, principal: str, owner_id: str, epoch: int, *, head: int, eras: Eras) -> None:
        self._sessions = sessions
        self._owner_id = owner_id
        self._head = head
        self.tag = tag
        self.principal = principal
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

        While the store does not answer, this waits as long as the lease holds, and `sessions.lease_seconds` at most where it takes the
        owner's refreshes and not this: an event that was skipped would be a silent gap. In a full store the events take their offsets and
        are not kept; a reader that comes back for them is told so.

        Raises:
            Fenced.
        """
        first, unsure, full, since = self._head + 1, 0, False, 0.0
        while self.valid:
            try:
                answer = await (self._skip(first, writes) if full else self._keep_events(first, writes))
            except StoreFull:
                if full:  # not even what frees room is let in
                    since = await self._pause(since)
                full = True
                continue
            except Unreadable as error:
                await self._end(error)
                break
            except StoreUnavailable:
                unsure = first
                since = await self._pause(since)
                continue
            if answer != 1:
                break
            events = sum(write.kind in ("event", "last") for write in writes)
            self._head += events
            self._sessions.unkept += events if full else 0
            return first
        self.give_up()
        raise Fenced(unsure)

    async def _keep_events(self, first: int, writes: Iterable[Write]) -> Any:
        limits = self._sessions.limits
        arguments: list[str | bytes | int] = [self.epoch, first, _ms(limits.idle_timeout_seconds), _ms(limits.log_seconds)]
        arguments += [limits.log_events, limits.log_bytes, self.most_bytes, self.bus]
        for write in writes:
            arguments += [write.kind, write.stream, self._sealed(write)]
        return await self._sessions.store.run("append", self._keys(), *arguments)

    async def _skip(self, first: int, writes: Iterable[Write]) -> Any:
        arguments: list[str | bytes | int] = [self.epoch, first, _ms(self._sessions.limits.idle_timeout_seconds), self.bus]
        for write in writes:
            arguments += [write.kind, write.stream, self._sealed(write) if write.kind == "open" else b""]
        return await self._sessions.store.run("skip", self._keys()[:1], *arguments)

    def _sealed(self, write: Write) -> bytes:
        """A registration says what is run here: nobody else may have written it. Of the GET stream there is nothing to say."""
        if write.kind != "open" or write.stream == GET_STREAM:
            return write.data
        return self._sessions.owner.seals.seal(self.tag, f"c:{write.stream}", write.data)

    async def drop(self, streams: Iterable[str]) -> None:
        """Forget streams that nobody can end: whoever resumes one is told that it is gone.

        Raises:
            Fenced.
        """
        writes = [Write("drop", stream, b"") for stream in streams]
        since = 0.0
        async with self.lock:
            while self.valid:
                try:
                    answer = await self._skip(self._head + 1, writes)
                except Unreadable as error:
                    await self._end(error)
                    break
                except StoreUnavailable:
                    since = await self._pause(since)
                    continue
                if answer != 1:
                    break
                return
        self.give_up()
        raise Fenced

    @property
    def most_bytes(self) -> int:
        """What the store may hold of this session: its part of what its principal may have."""
        return self._sessions.share(self.principal)

    @property
    def most_event_bytes(self) -> int:
        """Largest event that the log takes."""
        limits = self._sessions.limits
        return min(limits.max_event_bytes, limits.log_bytes)

    async def read(self, stream: str, after: int) -> Tail:
        """Read what follows a position; entries that are nothing of ours are passed over.

        Raises:
            Fenced, StoreUnavailable.
        """
        self._check()
        try:
            answer = await self._sessions.store.run("read", self._keys(), self.epoch, stream, after)
            if answer[0] != 1:
                self.give_up()
                raise Fenced
            return self._tail(answer)
        except (Unreadable, ValueError) as error:
            await self._end(error)
            raise Fenced from error

    def _tail(self, answer: list[Any]) -> Tail:
        """Read an answer; its numbers are checked as such. Raises ValueError."""
        rest, odd = answer[6:], int(answer[5])
        # A line end within an event would end it on its reader's stream, and begin another.
        entries = tuple(
            Entry(int(offset), data, kind == b"last")
            for offset, kind, data in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
            if b"\n" not in data and b"\r" not in data
        )
        if odd + len(rest) // 3 - len(entries):
            self._sessions.store.oddities.skip("event", "an entry of a log has not the form of an event")
        return Tail(int(answer[1]), int(answer[2] or 0), int(answer[3]) if answer[3] else None, bool(answer[4]), entries)

    async def keep(self) -> None:
        """Say that the session is in use.

        Raises:
            Fenced, StoreUnavailable.
        """
        self._check()
        await self._write("keep", (self._keys()[0],), _ms(self._sessions.limits.idle_timeout_seconds))

    async def watch(self, changes: Mapping[str, bool]) -> bool:
        """Note which resources the client wants to hear of, or no more, each in a field of its own.

        Returns:
            False when the session has no room for it: nothing is noted then.

        Raises:
            Fenced, StoreUnavailable, StoreFull.
        """
        self._check()
        fields = list[str | bytes]()
        for uri, wanted in changes.items():
            name = watched_field(uri)
            fields += [name, self._sessions.owner.seals.seal(self.tag, name, uri.encode()) if wanted else b""]
        idle = _ms(self._sessions.limits.idle_timeout_seconds)
        return await self._write("note", (self._keys()[0],), idle, self.most_bytes, *fields) == 1

    async def release(self) -> None:
        """Leave the session to whoever claims it next.

        Raises:
            Fenced, StoreUnavailable.
        """
        self._check()
        idle = _ms(self._sessions.limits.idle_timeout_seconds)
        await self._write("keep", (self._keys()[0],), idle, "owner", "", "entry", "", "bus", self.bus)
        self.give_up()

    async def finish(self) -> None:
        """End the session and delete what the store has of it.

        Raises:
            Fenced, StoreUnavailable.
        """
        self._check()
        await self._write("finish", self._keys())
        self.give_up()

    async def _write(self, name: str, keys: tuple[str, ...], *arguments: str | bytes | int) -> int:
        try:
            answer = await self._sessions.store.run(name, keys, self.epoch, *arguments)
        except Unreadable as error:
            await self._end(error)
            raise Fenced from error
        if answer == 0:
            self.give_up()
            raise Fenced
        return int(answer)

    async def _pause(self, since: float) -> float:
        """Wait before another try; `since` is when the first one failed, 0 before. Once that is a lease ago the session is given up."""
        now = asyncio.get_running_loop().time()
        if since and now - since >= self._sessions.limits.lease_seconds:
            self.give_up()
        else:
            await asyncio.sleep(_RETRY_SECONDS)
        return since or now

    async def _end(self, error: Exception) -> None:
        """What stands under our keys is nothing of ours: nobody can go on with the session."""
        self.give_up()
        await self._sessions.bury(self.tag, str(error))

    def _check(self) -> None:
        if not self.valid:
            raise Fenced

    def _keys(self) -> tuple[str, str]:
        store = self._sessions.store
        return store.key("s", self.tag), store.key("l", self.tag)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)

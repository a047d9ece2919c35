"""Change notices between replicas: a Redis Stream that every process reads.

A notice is a kind and, for a resource, its URI. Promises that a process which was out of touch gets what it missed, or is told that
everything may have changed (`EVERYTHING`) when that is no longer there; that publishing never fails and never waits for long: what the
store cannot take is delivered here at once, and published when the store is back. Notices say "look again", so that one too many does no
harm. An entry that cannot be read (of another form, of a later format) is skipped and counted; a key that is no stream is begun anew.

Source: docs/decisions/2026-11-25-store-formats.md
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from moorage.store.outage import StoreUnavailable, Unreadable

if TYPE_CHECKING:
    from moorage.store.client import Store

_KEPT: Final = 4096
_KEPT_MS: Final = 24 * 3600 * 1000
"""After a day without a notice nobody waits for one: what a deployment leaves behind ends by itself."""

_READ_AT_ONCE: Final = 256
_RETRY_SECONDS: Final = 0.25
_MOST_PENDING: Final = 1024

_FORMAT: Final = 1
"""Of an entry; one of a larger number is of a later release, and one without any of the releases before there were numbers."""

_POSITION: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}", re.ASCII)

_BEGUN: Final = "begun"
"""Kind of the entry that a stream begins with, so that every position is that of an entry and one that is gone can be told."""

log = structlog.get_logger("moorage.store")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something changed. `uri` is empty but for a resource."""

    kind: str
    uri: str = ""


EVERYTHING: Final = Notice("everything")
"""Notices were missed and are gone: whoever watches anything has to look again."""


class Bus:
    """One process's ear and mouth.

    Attributes:
        receive: Called on the event loop for every notice, the own ones too.
        position: Of the last one received.
    """

    def __init__(self, store: Store, receive: Callable[[Notice], None]) -> None:
        self._store = store
        self.receive = receive
        self._key = f"{store.prefix}:bus"
        self._pending: set[Notice] = set()
        self._was_out = False
        self._told = ""
        self.position: str = ""

    async def publish(self, notice: Notice) -> None:
        """Tell every process."""
        try:
            await self._add(notice)
        except StoreUnavailable:
            self.receive(notice)
            self._pending.add(notice if len(self._pending) < _MOST_PENDING else EVERYTHING)

    async def listen_forever(self) -> None:
        """Hear what is published, until cancelled."""
        while True:
            try:
                if not self.position:
                    self.position = await self._newest()
                if self._was_out:
                    await self._look_for_a_gap()
                for notice in [*self._pending]:
                    await self._add(notice)
                    self._pending.discard(notice)
                await self._hear()
            except Unreadable as error:
                self.skip(str(error))
                self._was_out = True
                await asyncio.sleep(_RETRY_SECONDS)
            except StoreUnavailable:
                self._was_out = bool(self.position)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _look_for_a_gap(self) -> None:
        """What was missed may be gone: trimmed, lost with the store's data, or put in the place of something that was none of ours."""
        newest = await self._newest()
        behind = _order(newest) < _order(self.position)
        gone = behind or (newest != self.position and await self._trimmed(self.position))
        if behind:
            self.position = newest
        self._was_out = False
        if gone:
            self._told = newest
            self.receive(EVERYTHING)

    def skip(self, reason: str) -> None:
        """Count a notice that cannot be read; `reason` is for the log and must quote nothing of it."""
        self._store.oddities.skip("notice", reason)

    async def since(self, position: str) -> list[Notice]:
        """What was published after a position; `[EVERYTHING]` when that is not known any more.

        Raises:
            StoreUnavailable.
        """
        if position and position == self.position:
            return []
        if position and not _POSITION.fullmatch(position):
            return [EVERYTHING]
        found = await self._store.command("XRANGE", self._key, f"({position}" if position else "-", "+", "COUNT", _KEPT)
        notices = [notice for _, fields in found if (notice := self._read(fields)) is not None and notice.kind != _BEGUN]
        if not position:
            return [EVERYTHING] if notices else []
        if await self._trimmed(position):
            return [EVERYTHING]
        return notices

    async def _add(self, notice: Notice) -> None:
        await self._store.run("publish", (self._key,), _FORMAT, notice.kind, notice.uri, _KEPT, _KEPT_MS)

    async def _hear(self) -> None:
        block = self._store.timeout_seconds / 2  # the connection's own patience is the whole of it
        words = ("XREAD", "COUNT", _READ_AT_ONCE, "BLOCK", int(block * 1000), "STREAMS", self._key, self.position)
        answer: Any = await self._store.command(*words, wait_seconds=block)
        if not answer:
            await self._look_for_a_gap()
            return
        entries: list[Any] = next(iter(cast("dict[Any, Any]", answer).values()))[0] if isinstance(answer, dict) else answer[0][1]
        if len(entries) == _READ_AT_ONCE and await self._trimmed(self.position):
            self.receive(EVERYTHING)
        for entry_id, fields in entries:
            self.position = entry_id.decode()
            notice = self._read(fields)
            if notice is not None and notice.kind != _BEGUN:
                self.receive(notice)
            elif notice is not None and self.position != self._told:  # whoever hears a stream begin had listened to another one before
                self.receive(EVERYTHING)

    async def _newest(self) -> str:
        """Where whoever begins to listen begins: at the last entry; a stream without any gets one that tells nothing."""
        return (await self._store.run("newest", (self._key,), _BEGUN, _FORMAT, _KEPT_MS)).decode()

    def _read(self, fields: Any) -> Notice | None:
        """Read an entry; None for one that is none of ours."""
        try:
            return _notice(fields)
        except ValueError as error:  # UnicodeDecodeError is one
            self.skip("it has not the form of a notice" if isinstance(error, UnicodeDecodeError) else str(error))
            return None

    async def _trimmed(self, position: str) -> bool:
        """Whether entries right after a position may be gone."""
        oldest = await self._store.command("XRANGE", self._key, "-", "+", "COUNT", 1)
        return not oldest or _order(oldest[0][0].decode()) > _order(position)


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


def _notice(fields: Any) -> Notice:
    """Read an entry; the client library may give its fields as a mapping or as a flat list. Raises ValueError for what is none of ours."""
    pairs = cast("dict[bytes, bytes]", fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True)))
    version = pairs.get(b"v", b"0")
    if not version.isdigit() or int(version[:9]) > _FORMAT:
        raise ValueError("it has the format of a later release, or none")
    if b"k" not in pairs or b"u" not in pairs:
        raise ValueError("a field is missing")
    return Notice(pairs[b"k"].decode(), pairs[b"u"].decode())

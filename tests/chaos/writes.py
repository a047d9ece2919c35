"""What the store itself did, in its own order: a watch over its MONITOR feed.

Every event is written by a script that is called with the owner's epoch, so each XADD of a script follows the call that it belongs
to. Epochs of one session's log must never fall, and its offsets must follow each other: then no two owners wrote.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from tests.services.processes import LOOPBACK
from tests.services.redis import Redis

_LINE: Final = re.compile(rb"^\+?[\d.]+ \[\d+ (?P<who>[^\]]*)\] (?P<rest>.*)$", re.DOTALL)
_WORD: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_MOST_BYTES: Final = 2**24


@dataclass(frozen=True, slots=True)
class Written:
    """An event that entered a log."""

    epoch: int
    offset: int


class Watch:
    """Follows one Redis while its block lasts."""

    def __init__(self, redis: Redis) -> None:
        self.logs: dict[str, list[Written]] = defaultdict(list)
        self.fenced = 0
        self._mark = secrets.token_hex(16).encode()
        self._marked = asyncio.Event()
        self._redis = redis
        self._call: tuple[str, int] | None = None
        self._epochs: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        reader, self._writer = await asyncio.open_connection(LOOPBACK, self._redis.port, limit=_MOST_BYTES)
        self._writer.write(b"MONITOR\r\n")
        assert (await reader.readline()).startswith(b"+OK")
        self._task = asyncio.create_task(self._follow(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        assert self._writer is not None
        await self.caught_up()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def written(self) -> int:
        """How many events entered a log."""
        return sum(len(log) for log in self.logs.values())

    def problems(self) -> list[str]:
        """Logs in which an older owner wrote after a newer one, or in which offsets do not follow each other."""
        found: list[str] = [] if self.written else ["the watch over the store saw no event being written"]
        for log, events in self.logs.items():
            for before, after in itertools.pairwise(events):
                if after.epoch < before.epoch:
                    found.append(f"two owners wrote: epoch {after.epoch} after {before.epoch} in {log} at offset {after.offset}")
                if after.offset != before.offset + 1:
                    found.append(f"offset {after.offset} follows {before.offset} in {log}")
        return found

    async def caught_up(self) -> None:
        """Read until all that the store has done so far was seen."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self._redis.port)
        try:
            async with asyncio.timeout(10):
                writer.write(b"ECHO " + self._mark + b"\r\n")
                await reader.readline()
                await self._marked.wait()
        finally:
            writer.transport.abort()

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            self.take(line.rstrip())
            if self._mark in line:
                self._marked.set()

    def take(self, line: bytes) -> None:
        """Read one line of the feed."""
        match = _LINE.match(line)
        if match is None:
            return
        words = [word.decode("latin-1") for word in _WORD.findall(match["rest"])]
        if match["who"] == b"lua":
            self._in_script(words)
        else:
            self._count_fenced()
            self._call = _append_call(words)

    def _in_script(self, words: list[str]) -> None:
        if words[0].upper() == "XADD" and self._call is not None and words[1] == self._call[0]:
            log, epoch = self._call
            self.logs[log].append(Written(epoch, int(words[2].partition("-")[0])))
            self._epochs[log] = max(epoch, self._epochs.get(log, 0))

    def _count_fenced(self) -> None:
        """A call under an epoch that is not the newest wrote nothing: count it."""
        if self._call is not None and self._call[1] < self._epochs.get(self._call[0], 0):
            self.fenced += 1
        self._call = None


def _append_call(words: list[str]) -> tuple[str, int] | None:
    """The log and the epoch of a script that is called with a session, its log and an epoch."""
    if not words or words[0].upper() not in ("EVALSHA", "EVAL", "FCALL") or len(words) < 6 or words[2] != "2":
        return None
    return (words[4], int(words[5])) if words[5].isdecimal() else None

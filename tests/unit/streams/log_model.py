"""A session's log as the decision describes it, in a few lines: what streams wrote, what retention took, and what is known of that."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """An event."""

    offset: int
    last: bool
    stream: str


@dataclass(frozen=True)
class Tail:
    """See `moorage.streams.position.LoggedTail`."""

    head: int
    lost: int
    newest: int | None
    open: bool
    entries: tuple[Entry, ...]


@dataclass
class LogModel:
    """A log that keeps the newest `most` events.

    Attributes:
        written: Every offset that a stream ever had, whatever became of it.
        kept: What is left.
        expired: Whether all that was kept has gone by its age, and nobody has appended since.
    """

    most: int
    head: int = 0
    written: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    ended: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    kept: list[Entry] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def streams(self) -> list[str]:
        return sorted({*self.opened, *self.ended, "never"})

    def open(self, stream: str) -> None:
        self.opened.add(stream)

    def append(self, stream: str, *, last: bool = False) -> None:
        if self.head and not self.kept:  # expired: only now somebody notes what each open stream had
            self.lost |= {name: self.written[name][-1] for name in self.opened if self.written[name]}
        self.head += 1
        self.written[stream].append(self.head)
        self.kept.append(Entry(self.head, last, stream))
        if last:
            self.opened.discard(stream)
            self.ended.add(stream)
        while len(self.kept) > self.most:
            self.trim()

    def trim(self) -> None:
        gone = self.kept.pop(0)
        if gone.last:
            self.lost.pop(gone.stream, None)
        else:
            self.lost[gone.stream] = gone.offset

    def expire(self) -> None:
        """The whole log goes by its age."""
        self.kept.clear()

    def tail(self, stream: str, after: int) -> Tail:
        entries = tuple(entry for entry in self.kept if entry.stream == stream and entry.offset > after)
        is_open = stream in self.opened
        newest = self.written[stream][-1] if is_open and self.written[stream] else None
        return Tail(self.head, self.lost.get(stream, 0), newest, is_open, entries)

    def misses_nothing(self, stream: str, after: int) -> bool:
        """Whether whoever is at a position gets all that came after it: told from what was written, not from what is noted.

        Of a stream that ended, the end has to come after the position: whether there was one is not remembered for ever.
        """
        if after > self.head or not (stream in self.opened or stream in self.ended):
            return False
        wanted = [offset for offset in self.written[stream] if offset > after]
        there = {entry.offset for entry in self.kept}
        return all(offset in there for offset in wanted) and (stream in self.opened or bool(wanted))


def random_log(chance: random.Random) -> LogModel:
    """A log with some streams, some of which end, and with trimming and expiry at any moment."""
    log = LogModel(most=chance.randint(1, 12))
    names = [f"s{number}" for number in range(chance.randint(1, 4))]
    for _ in range(chance.randint(0, 25)):
        name = chance.choice(names)
        if name in log.ended:
            continue
        if name not in log.opened:
            log.open(name)
        elif chance.random() < 0.05:
            log.expire()
        else:
            log.append(name, last=chance.random() < 0.15)
    return log

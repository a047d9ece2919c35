"""Where a reader of a stream is, as an event id says it, and whether the log can take it from there.

An event id is `<mark>.<epoch>.<stream>.<offset>`: the session's mark, the epoch of the owner that wrote the event, the stream, and the
offset of the event in the session's log; numbers in base 36. Promises that an id of another session, of an owner whose writes the store has
lost, or of nothing at all is no position, and that a position is honoured only if every event after it is there.

Source: docs/decisions/2026-11-24-event-log.md; MCP 2025-11-25, basic/transports, "Resumability and Redelivery"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_MARK_LENGTH: Final = 8
_PARTS: Final = 4
_NUMBER: Final = re.compile(r"[0-9a-z]{1,12}")
_STREAM: Final = re.compile(r"[0-9a-z-]{1,32}")

Eras = tuple[tuple[int, int], ...]


def base36(number: int) -> str:
    """Write a number that is not negative in base 36."""
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits


@dataclass(frozen=True, slots=True)
class Position:
    """A place in one stream of one session: after the event at `offset`."""

    stream: str
    offset: int


def id_prefix(tag: str, epoch: int, stream: str) -> str:
    """What the event ids of one stream begin with; the offset in base 36 follows."""
    return f"{tag[:_MARK_LENGTH]}.{base36(epoch)}.{stream}."


def read_position(event_id: str, tag: str, eras: Eras) -> Position | None:
    """The position that an event id names in this session; None when it names none.

    An offset beyond the next owner's beginning is of an event that the store had and has no more.

    Args:
        event_id: As the client gives it.
        tag: Of the session.
        eras: The epochs of the session's owners, oldest first, each with the offset that it began after.
    """
    parts = event_id.split(".")
    if len(parts) != _PARTS or parts[0] != tag[:_MARK_LENGTH] or not _STREAM.fullmatch(parts[2]) or not _NUMBER.fullmatch(parts[3]):
        return None
    offset = int(parts[3], 36)
    ends = [start for _, start in eras[1:]] + [None]
    for (epoch, _), end in zip(eras, ends, strict=True):
        if parts[1] == base36(epoch):
            return Position(parts[2], offset) if end is None or offset <= end else None
    return None


def epoch_of(offset: int, eras: Eras) -> int:
    """The epoch of the owner that wrote the event at an offset."""
    return next((epoch for epoch, start in reversed(eras) if start < offset), eras[0][0])


class LoggedEvent(Protocol):
    """What the verdict looks at in an event."""

    @property
    def offset(self) -> int:
        """Where it stands."""
        ...

    @property
    def last(self) -> bool:
        """Whether it ends its stream."""
        ...


class LoggedTail(Protocol):
    """What the log has of a stream after a position; see `store.sessions.Tail`."""

    @property
    def head(self) -> int:
        """Newest offset of the session."""
        ...

    @property
    def lost(self) -> int:
        """Highest offset that retention took from the stream."""
        ...

    @property
    def newest(self) -> int | None:
        """Newest offset of the stream while it is open."""
        ...

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        ...

    @property
    def entries(self) -> Sequence[LoggedEvent]:
        """What follows."""
        ...


def recoverable(position: Position, tail: LoggedTail) -> bool:
    """Whether a reader at this position, given the entries, has missed nothing."""
    if position.offset > tail.head or tail.lost > position.offset:
        return False
    if not tail.open:
        return bool(tail.entries) and tail.entries[-1].last
    seen = tail.entries[-1].offset if tail.entries else position.offset
    return tail.newest is None or tail.newest <= seen

"""Histories as a service without faults would leave them: what the checker has to accept, and what tests break on purpose."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.chaos.checker import NOTIFYING
from tests.chaos.history import (
    GET_STREAM,
    Asked,
    Begun,
    Emitted,
    Ended,
    Fault,
    Finished,
    Gap,
    History,
    Kind,
    Lost,
    Received,
    Resumed,
    stream_of,
)

_SESSIONS = ("a", "b")
_OUTCOME_UNKNOWN = -32011


class Scene:
    """Two sessions with calls of every kind at once: plain ones, one that runs again, one that ends as unknown, and a known gap."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.history = History()
        self._now = 100.0
        self._offset: dict[str, int] = dict.fromkeys(_SESSIONS, 0)
        self._owed: set[int] = set()
        self._rerun = 0
        for session in _SESSIONS:
            self._interleave([self._get_stream(session), *self._call_streams(session)])

    def is_owed(self, record: Received) -> bool:
        """Whether a client may count on this integer."""
        return record.value in self._owed

    def is_last(self, record: Received) -> bool:
        """Whether it is the last integer that its call emits."""
        [call] = [call for call in self.history.of(Asked) if call.call <= record.value < call.call + call.count]
        return record.value == call.call + call.count - 1

    def is_last_seen(self, record: Received) -> bool:
        """Whether nothing of the same run and kind came after it."""
        return self._after(record) is None

    def follower(self, record: Received) -> Received:
        """The next integer of the same run and kind; falsy without one."""
        return self._after(record)  # pyright: ignore[reportReturnType]

    def _after(self, record: Received) -> Received | None:
        same = [one for one in self.history.of(Received) if (one.run, one.kind) == (record.run, record.kind)]
        at = same.index(record) + 1
        return same[at] if at < len(same) else None

    def rerun(self) -> str:
        """The stream of a call that ran twice."""
        return stream_of(self._rerun)

    def _interleave(self, streams: list[Iterator[None]]) -> None:
        while streams:
            stream = self._random.choice(streams)
            self._now += self._random.uniform(0.001, 0.02)
            if next(stream, "over") == "over":
                streams.remove(stream)

    def _call_streams(self, session: str) -> Iterator[Iterator[None]]:
        yield self._call(session, "append", results=True)
        yield self._call(session, "append_once", results=True)
        yield self._call(session, "append_once", results=False)
        yield self._call(session, "append", results=True, again=True)

    def _ask(self, session: str, tool: str, *, owed: bool) -> Asked:
        count = self._random.randint(3, 8)
        asked = Asked(self._now, session, self.history.integers(count), count, tool, 1.0)
        self.history.add(asked)
        if owed:
            self._owed.update(range(asked.call, asked.call + count))
        return asked

    def _begin(self, asked: Asked) -> str:
        run = f"{self._random.getrandbits(64):x}"
        self.history.add(Begun(asked.call, run, asked.tool, 1))
        return run

    def _receive(self, asked: Asked, run: str, value: int, kind: Kind, progress: float | None = None) -> None:
        self.history.add(Emitted(run, kind, value))
        self._offset[asked.session] += 1
        stream = GET_STREAM if asked.tool in NOTIFYING else stream_of(asked.call)
        event_id = f"{asked.session}.1.{stream}.{self._offset[asked.session]}"
        self.history.add(Received(self._now, asked.session, stream, kind, value, run, event_id, progress))

    def _call(self, session: str, tool: str, *, results: bool, again: bool = False) -> Iterator[None]:
        asked = self._ask(session, tool, owed=results and not again)
        run = self._begin(asked)
        died = again or not results
        for number in range(asked.count - self._random.randint(0, 1) if died else asked.count):
            yield
            self._receive(asked, run, asked.call + number, "progress", number + 1)
            self._receive(asked, run, asked.call + number, "log")
            if self._random.random() < 0.3:
                self.history.add(Lost(self._now, session, stream_of(asked.call), "cut"))
                self.history.add(Resumed(self._now + 0.01, session, stream_of(asked.call), 0.01))
        if died:
            self.history.add(Fault(self._now, self._now + 0.1, "kill"))
        if again:
            self._rerun = asked.call
            run = self._begin(asked)
            for number in range(asked.count):
                yield
                self._receive(asked, run, asked.call + number, "progress", asked.count + number + 1)
                self._receive(asked, run, asked.call + number, "log")
        yield
        if results:
            self.history.add(Finished(run))
            self.history.add(Ended(self._now, session, asked.call, "result", named=asked.call))
        else:
            self.history.add(Ended(self._now, session, asked.call, "error", _OUTCOME_UNKNOWN))

    def _get_stream(self, session: str) -> Iterator[None]:
        yield from self._notify(session, told_at=None)
        yield from self._notify(session, told_at=2)
        yield from self._notify(session, told_at=None)

    def _notify(self, session: str, told_at: int | None) -> Iterator[None]:
        """Notices of one call; at `told_at` one is missing, and the client is told."""
        asked = self._ask(session, "notify", owed=told_at is None)
        run = self._begin(asked)
        for number in range(asked.count):
            yield
            if number == told_at:
                self.history.add(Emitted(run, "notice", asked.call + number))
                self.history.add(Gap(self._now, session, GET_STREAM, "position"))
            else:
                self._receive(asked, run, asked.call + number, "notice")
        self.history.add(Finished(run))
        self.history.add(Ended(self._now, session, asked.call, "result", named=asked.call))

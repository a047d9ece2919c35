"""Finds in a history what must not happen; knows neither the server nor the client, only what they wrote down.

What a client is told is whole: all that a call emits when the call ended with a result, and, before every integer that it received, the
integers that the same execution of the tool had emitted. A `Gap` that the client was told of excuses what was asked for before
it and was not yet followed by anything. A call that ended otherwise promises no more than its answer. A tool that may be repeated
(`REPEATABLE`) may be seen again from its beginning, under the name of another execution; its progress still only rises.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from tests.chaos.history import (
    GET_STREAM,
    Asked,
    Begun,
    Emitted,
    Ended,
    Fault,
    Gap,
    History,
    Lost,
    Received,
    Resumed,
    stream_of,
)

ANSWER_SECONDS: Final = 10.0
"""How long after what the tool needs, or after the end of a fault, a call may be without an answer."""

REPEATABLE: Final = frozenset({"append"})
"""Tools annotated as idempotent: they may run again."""

NOTIFYING: Final = frozenset({"notify"})
"""Tools whose integers travel on the GET stream."""

Wrong = Literal[
    "lost", "duplicated", "reordered", "gap", "silent", "late", "crossed", "repeated", "fell back", "two owners", "never emitted"
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not happen, and where."""

    wrong: Wrong
    session: str
    stream: str
    detail: str

    def __str__(self) -> str:
        return f"{self.wrong}: session {self.session}, stream {self.stream}: {self.detail}"


@dataclass(slots=True)
class Report:
    """What the checker says about a history."""

    findings: list[Finding]
    counts: Counter[str]
    resumed: list[float]
    """Seconds from the end of a connection to the first event of the next, each."""
    answered: list[float]
    """Seconds from a fault to the end of a call that it met in flight, each."""
    waited: list[float]
    """Seconds from a call to its end, beyond what its tool takes, each."""

    def of(self, *wrong: Wrong) -> list[Finding]:
        """The findings of some kinds."""
        return [finding for finding in self.findings if finding.wrong in wrong]


def check(history: History) -> Report:
    """Examine a whole history."""
    index = _Index.of(history)
    findings = [
        *_silent(index),
        *_crossed(index),
        *_repeated(index),
        *_never_emitted(index),
        *_missing(index),
        *(finding for reading in index.readings() for finding in _within(reading, index)),
    ]
    resumed = [record.seconds for record in history.of(Resumed)]
    waited = [index.ended[call.call].at - call.at - call.seconds for call in index.asked if call.call in index.ended]
    return Report(findings, _counts(index, history), resumed, list(_answered(index)), waited)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one reader read of one stream, in order."""

    session: str
    stream: str
    received: list[Received]


@dataclass(slots=True)
class _Index:
    """A history by what the checks ask for."""

    asked: list[Asked]
    """By their first integer."""
    ended: dict[int, Ended]
    received: dict[tuple[str, str], list[Received]]
    received_of: dict[tuple[str, str, int], list[Received]]
    """By session, stream and the call that the integer belongs to."""
    gaps: dict[tuple[str, str], list[Gap]]
    faults: list[Fault]
    runs: dict[int, list[Begun]]
    call_of_run: dict[str, int]
    emitted: set[tuple[str, str, int]]
    _firsts: list[int] = field(default_factory=list[int])

    @classmethod
    def of(cls, history: History) -> _Index:
        asked = sorted(history.of(Asked), key=lambda record: record.call)
        gaps: dict[tuple[str, str], list[Gap]] = defaultdict(list)
        for gap in history.of(Gap):
            gaps[gap.session, gap.stream].append(gap)
        runs: dict[int, list[Begun]] = defaultdict(list)
        for begun in history.of(Begun):
            runs[begun.call].append(begun)
        index = cls(
            asked=asked,
            ended={record.call: record for record in history.of(Ended)},
            received=defaultdict(list),
            received_of=defaultdict(list),
            gaps=gaps,
            faults=sorted(history.of(Fault), key=lambda fault: fault.began),
            runs=runs,
            call_of_run={begun.run: begun.call for begun in history.of(Begun)},
            emitted={(record.run, record.kind, record.value) for record in history.of(Emitted)},
            _firsts=[record.call for record in asked],
        )
        for record in history.of(Received):
            index.received[record.session, record.stream].append(record)
            if (call := index.call_with(record.value)) is not None:
                index.received_of[record.session, record.stream, call.call].append(record)
        return index

    def call_with(self, value: int) -> Asked | None:
        """The call that an integer belongs to."""
        at = bisect_right(self._firsts, value) - 1
        if at < 0 or value >= self.asked[at].call + self.asked[at].count:
            return None
        return self.asked[at]

    def readings(self) -> Iterator[_Reading]:
        """Every reader's view of every stream."""
        for (session, stream), records in self.received.items():
            readers: dict[str, list[Received]] = defaultdict(list)
            for record in records:
                readers[record.reader].append(record)
            for name in readers:
                yield _Reading(session, stream, readers[name])

    def told(self, session: str, stream: str, since: float, until: float = float("inf")) -> bool:
        """Whether the client was told that the stream may be incomplete, between two times."""
        return any(since <= gap.at <= until for gap in self.gaps.get((session, stream), ()))


def _home(call: Asked) -> str:
    """The stream on which a call's integers travel."""
    return GET_STREAM if call.tool in NOTIFYING else stream_of(call.call)


def _silent(index: _Index) -> Iterator[Finding]:
    for call in index.asked:
        ended = index.ended.get(call.call)
        if ended is None or ended.verdict == "silent":
            yield Finding("silent", call.session, stream_of(call.call), f"{call.tool} got no answer, no error and no refusal")
        elif ended.at > (due := _due(call, index.faults)):
            yield Finding(
                "late", call.session, stream_of(call.call), f"{call.tool} ended {ended.at - due + ANSWER_SECONDS:.1f} s after it was due"
            )


def _due(call: Asked, faults: Iterable[Fault]) -> float:
    """The latest time at which a call has to have ended."""
    due = call.at + call.seconds + ANSWER_SECONDS
    for fault in faults:
        if fault.began <= due and fault.ended >= call.at:
            due = max(due, fault.ended + ANSWER_SECONDS)
    return due


def _crossed(index: _Index) -> Iterator[Finding]:
    for (session, stream), records in index.received.items():
        for record in records:
            call = index.call_with(record.value)
            if call is None:
                yield Finding("crossed", session, stream, f"{record.value} belongs to no call")
            elif call.session != session:
                yield Finding("crossed", session, stream, f"{record.value} belongs to session {call.session}")
            elif stream != _home(call):
                yield Finding("crossed", session, stream, f"{record.value} belongs to stream {_home(call)}")
            elif index.call_of_run.get(record.run, call.call) != call.call:
                yield Finding("crossed", session, stream, f"{record.value} came from the run {record.run} of another call")
    for ended in index.ended.values():
        if ended.verdict == "result" and ended.named != ended.call:
            yield Finding("crossed", ended.session, stream_of(ended.call), f"the result is that of call {ended.named}")


def _repeated(index: _Index) -> Iterator[Finding]:
    for call in index.asked:
        if call.tool not in REPEATABLE and len(index.runs.get(call.call, ())) > 1:
            yield Finding("repeated", call.session, stream_of(call.call), f"{call.tool} ran {len(index.runs[call.call])} times")


def _never_emitted(index: _Index) -> Iterator[Finding]:
    for (session, stream), records in index.received.items():
        for record in records:
            if (record.run, record.kind, record.value) not in index.emitted:
                yield Finding("never emitted", session, stream, f"{record.kind} {record.value} of run {record.run}")


def _missing(index: _Index) -> Iterator[Finding]:
    """Integers that are missing before one that came, and integers of a call with a result that did not come at all."""
    for call in index.asked:
        home = _home(call)
        records = index.received_of.get((call.session, home, call.call), [])
        skipped: set[int] = set()
        for kind in _kinds(call, index):
            for value, later in _skipped(call, [record for record in records if record.kind == kind]):
                skipped.add(value)
                if not index.told(call.session, home, call.at, later.at):
                    yield Finding("gap", call.session, home, f"{kind} {value} is missing before {later.value} of run {later.run}")
            ended = index.ended.get(call.call)
            if ended is None or ended.verdict != "result":
                continue
            seen = {record.value for record in records if record.kind == kind}
            missing = [value for value in range(call.call, call.call + call.count) if value not in seen | skipped]
            if missing and not index.told(call.session, home, call.at, _whole_until(call, ended, index)):
                for value in missing:
                    yield Finding("lost", call.session, home, f"{kind} {value} of {call.tool}, which ended with a result")


def _whole_until(call: Asked, ended: Ended, index: _Index) -> float:
    """When a client reads what was asked for after a call had ended, it may take the call's own integers to have come."""
    for record in index.received.get((call.session, _home(call)), ()):
        later = index.call_with(record.value)
        if later is not None and later.at >= ended.at:
            return record.at
    return float("inf")


def _kinds(call: Asked, index: _Index) -> tuple[str, ...]:
    """What a call's integers travel as; progress of a call that ran twice is not owed, since it must not fall back."""
    if call.tool in NOTIFYING:
        return ("notice",)
    return ("log", "progress") if len(index.runs.get(call.call, ())) <= 1 else ("log",)


def _skipped(call: Asked, records: list[Received]) -> Iterator[tuple[int, Received]]:
    """Each integer that is missing from an execution of which a later one came, with the first later one."""
    runs: dict[str, list[Received]] = defaultdict(list)
    for record in records:
        runs[record.run].append(record)
    for came in runs.values():
        seen = {record.value for record in came}
        for value in range(call.call, max(seen)):
            if value not in seen:
                yield value, next(record for record in came if record.value > value)


def _within(reading: _Reading, index: _Index) -> Iterator[Finding]:
    yield from _duplicated(reading)
    yield from _reordered(reading)
    if reading.stream != GET_STREAM:
        yield from _two_owners(reading)
        yield from _fell_back(reading)
    yield from _holes(reading, index)


def _duplicated(reading: _Reading) -> Iterator[Finding]:
    ids: Counter[str] = Counter(record.event_id for record in reading.received if record.event_id is not None)
    values = Counter((record.run, record.kind, record.value) for record in reading.received)
    for event_id, times in ids.items():
        if times > 1:
            yield Finding("duplicated", reading.session, reading.stream, f"event {event_id} came {times} times")
    for (run, kind, value), times in values.items():
        if times > 1:
            yield Finding("duplicated", reading.session, reading.stream, f"{kind} {value} of run {run} came {times} times")


def _reordered(reading: _Reading) -> Iterator[Finding]:
    last_value: dict[tuple[str, str], int] = {}
    last_offset: dict[str, int] = {}
    for record in reading.received:
        source = (record.run, record.kind)
        if record.value < last_value.get(source, record.value):
            detail = f"{record.kind} {record.value} came after {last_value[source]} of the same run"
            yield Finding("reordered", reading.session, reading.stream, detail)
        last_value[source] = record.value
        where, _, text = (record.event_id or "").rpartition(".")
        if where:
            offset = int(text, 36)
            if offset < last_offset.get(where, 0):
                yield Finding("reordered", reading.session, reading.stream, f"event {record.event_id} came after a later one")
            last_offset[where] = offset


def _two_owners(reading: _Reading) -> Iterator[Finding]:
    """Once a second execution is seen, nothing of the first may follow."""
    over: set[str] = set()
    current = ""
    for record in reading.received:
        if record.run == current:
            continue
        if record.run in over:
            yield Finding("two owners", reading.session, reading.stream, f"run {record.run} goes on at {record.value} after run {current}")
        over.add(current)
        current = record.run


def _fell_back(reading: _Reading) -> Iterator[Finding]:
    highest = float("-inf")
    for record in reading.received:
        if record.progress is None:
            continue
        if record.progress <= highest:
            yield Finding("fell back", reading.session, reading.stream, f"progress {record.progress:g} came after {highest:g}")
        highest = max(highest, record.progress)


def _holes(reading: _Reading, index: _Index) -> Iterator[Finding]:
    """A reader beside the first may begin anywhere, and then has to get everything that follows."""
    if not reading.received[0].reader:
        return
    last: dict[tuple[str, str], Received] = {}
    for record in reading.received:
        before = last.get((record.run, record.kind))
        if before is not None and record.value > before.value + 1 and not index.told(reading.session, reading.stream, before.at, record.at):
            detail = f"{record.kind} {record.value} came after {before.value} to reader {record.reader}"
            yield Finding("gap", reading.session, reading.stream, detail)
        last[record.run, record.kind] = record


def _counts(index: _Index, history: History) -> Counter[str]:
    counts: Counter[str] = Counter(
        calls=len(index.asked),
        emitted=len(index.emitted),
        received=sum(len(records) for records in index.received.values()),
        reruns=sum(len(runs) - 1 for runs in index.runs.values()),
        cuts=len(history.of(Lost)),
    )
    counts.update(f"gap: {gap.cause}" for gaps in index.gaps.values() for gap in gaps)
    for ended in index.ended.values():
        counts[ended.verdict if ended.code is None else f"{ended.verdict} {ended.code}"] += 1
    return counts


def _answered(index: _Index) -> Iterator[float]:
    for call in index.asked:
        ended = index.ended.get(call.call)
        met = [fault for fault in index.faults if ended is not None and call.at <= fault.began <= ended.at]
        if ended is not None and met:
            yield ended.at - met[-1].began

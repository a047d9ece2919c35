"""What happened in a run: records that clients make, and the journal that the tools write.

A *call* is named by the first of the integers that it emits, so each integer belongs to one call of one session. A *stream* is what a
client reads at one position: `GET_STREAM`, or the stream of one call over all connections that carried it. Times are seconds of one
machine's wall clock, and only those of the client are compared with each other.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

JOURNAL_VARIABLE: Final = "CHAOS_JOURNAL"
GET_STREAM: Final = "get"

Kind = Literal["log", "progress", "notice"]
"""A log message or progress on a call's own stream; a log message on the session's GET stream."""

Verdict = Literal["result", "error", "refused", "cut", "silent"]
"""How a call ended: a result; a JSON-RPC error on its stream; an HTTP refusal; a connection that failed before the client had a position
to resume from, which it sees itself; or not at all."""

Cause = Literal["position", "session", "fresh"]
"""Why a stream may have a gap that its client knows of: the position cannot be honoured (404, -32010), the session is gone (404), or the
client opened the stream without a position."""


def stream_of(call: int) -> str:
    """The name of a call's own stream."""
    return str(call)


@dataclass(frozen=True, slots=True)
class Asked:
    """A client sent a call whose tool emits `count` integers from `call` on, and takes `seconds` for that."""

    at: float
    session: str
    call: int
    count: int
    tool: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A client knows how its call ended; `named` is the call that a result speaks of, `code` the error's."""

    at: float
    session: str
    call: int
    verdict: Verdict
    code: int | None = None
    named: int | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """A client read an integer; `run` is the execution of the tool that emitted it, `progress` its number where it is progress."""

    at: float
    session: str
    stream: str
    kind: Kind
    value: int
    run: str
    event_id: str | None = None
    progress: float | None = None
    reader: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """A client was told that a stream may be incomplete. Up to `at` it may be; what is asked for later has to be whole again."""

    at: float
    session: str
    stream: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class Lost:
    """A stream's connection ended before its stream did."""

    at: float
    session: str
    stream: str
    how: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """A stream is carried by a new connection; `seconds` since the old one ended, until its first event or its opening."""

    at: float
    session: str
    stream: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Something was broken from `began` to `ended`."""

    began: float
    ended: float
    what: str


@dataclass(frozen=True, slots=True)
class Begun:
    """The journal: a tool began to run."""

    call: int
    run: str
    tool: str
    process: int


@dataclass(frozen=True, slots=True)
class Emitted:
    """The journal: a tool is about to emit an integer."""

    run: str
    kind: Kind
    value: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The journal: a tool came to its end."""

    run: str


Record = Asked | Ended | Received | Gap | Lost | Resumed | Fault | Begun | Emitted | Finished
RECORDS: Final[dict[str, type[Record]]] = {
    kind.__name__: kind for kind in (Asked, Ended, Received, Gap, Lost, Resumed, Fault, Begun, Emitted, Finished)
}


R = TypeVar("R", bound=Record)
_next_integer = 1


@dataclass(slots=True)
class History:
    """All records of a run, each client's in the order in which it made them, each process's in the order of its journal."""

    records: list[Record] = field(default_factory=list[Record])

    def add(self, record: Record) -> None:
        """Write a record down."""
        self.records.append(record)

    def of(self, kind: type[R]) -> list[R]:
        """The records of one kind."""
        return [record for record in self.records if isinstance(record, kind)]

    @staticmethod
    def integers(count: int) -> int:
        """Integers that nobody else gets, in no other history of this process either; returns the first."""
        global _next_integer
        first, _next_integer = _next_integer, _next_integer + max(1, count)
        return first

    def read_journals(self, folder: Path) -> None:
        """Add what the tools of all processes wrote about this history's calls; a line that a kill cut short is left out."""
        calls = {record.call for record in self.of(Asked)}
        runs: set[str] = set()
        for record in _journal_records(folder):
            if isinstance(record, Begun) and record.call in calls:
                runs.add(record.run)
            if record.run in runs:
                self.records.append(record)

    def save(self, path: Path) -> None:
        """Write everything to a file, one JSON object a line."""
        path.write_text("".join(line(record) for record in self.records))


def _journal_records(folder: Path) -> Iterator[Begun | Emitted | Finished]:
    for path in sorted(folder.glob("*.jsonl")):
        for text in path.read_bytes().splitlines():
            with suppress(ValueError):
                written = json.loads(text)
                yield cast("Begun | Emitted | Finished", RECORDS[written.pop("record")](**written))


def line(record: Record) -> str:
    """A record as one line of JSON."""
    return json.dumps({"record": type(record).__name__, **asdict(record)}, separators=(",", ":")) + "\n"


def load(lines: Iterable[str]) -> History:
    """The history that `History.save` wrote."""
    history = History()
    for text in lines:
        written: dict[str, Any] = json.loads(text)
        history.add(RECORDS[written.pop("record")](**written))
    return history


class Journal:
    """What the tools of one process write; each line reaches the kernel at once, so that SIGKILL loses none."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._process = 0

    def write(self, record: Begun | Emitted | Finished) -> None:
        """Append a line to this process's file in the folder that the environment names; without one nothing is written."""
        if self._process != os.getpid():  # a worker that was forked from a process which wrote already gets a file of its own
            self._process = os.getpid()
            folder = os.environ.get(JOURNAL_VARIABLE)
            path = folder and os.path.join(folder, f"{self._process}-{time.monotonic_ns()}.jsonl")
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if path else None
        if self._file is not None:
            os.write(self._file, line(record).encode())

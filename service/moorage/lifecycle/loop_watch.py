"""Notices when the event loop is held up, how long, and by which line of code.

One tool that computes or waits without `await` holds up every request of its process, and nothing on the loop can say so meanwhile. A
heartbeat on the loop (a timer) measures how late it is; a thread beside the loop looks at what the loop's thread is doing when the
heartbeat stays away. Promises one event (`loop.blocked`) a block, written while it lasts or at once when it is over; that nothing is read
of the code that runs but file, line and function, and what the given function says of it; and a cost of ten timer callbacks and one
wake-up a second.

Source: docs/decisions/2026-11-25-loop-watch.md
"""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Final, Self

import structlog

from moorage.lifecycle.supervised import FAULTS

BEAT_SECONDS: Final = 0.1
"""Between two heartbeats: far below what anybody would call a block, and too seldom to be seen in a profile."""

TOLD_AFTER_SECONDS: Final = 1.0
"""How long after a block was noticed its event is written although it goes on: a tool that never returns, or a process that the kubelet
is about to kill, is named too. A shorter block is told with its whole length."""

LATELY_SECONDS: Final = 60.0
"""How long a block stays in the detail of readiness, and a lag in the gauge: several collections, whoever collects."""

_SAMPLE_SECONDS: Final = 0.05
_JOIN_SECONDS: Final = 1.0

_PACKAGES: Final = ("site-packages", "dist-packages")
_STANDARD_LIBRARY: Final = tuple({f"{sysconfig.get_path(kind)}/" for kind in ("stdlib", "platstdlib")})
_OURS: Final = f"{Path(__file__).resolve().parent.parent}/"
_SERVERS: Final = frozenset({"gunicorn", "uvicorn", "uvicorn_worker"})
"""Packages from which everything is entered: what is further out is the program that started the process."""

_RUNTIME: Final = frozenset({"anyio", "fastapi", "mcp", "moorage", "opentelemetry", "pydantic", "starlette", "structlog"})
"""Packages that are on the stack of every call. Others that are installed may be the served code itself."""

Seen = tuple[str, tuple[tuple[str, str], ...]]
"""What one look at a stack has shown: the place, and the facts of what runs there."""

log = structlog.get_logger("moorage.lifecycle")


class LoopAccount:
    """What is known of the loop's lag and its blocks. One account a process; may be used from any thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.blocks = 0
        self._clock = clock
        self._since = clock()
        self._longest = self._longest_before = 0.0
        self._latest: tuple[float, str, float] | None = None

    def lagged(self, seconds: float) -> None:
        """Take note of a heartbeat's lag."""
        self._turn()
        self._longest = max(self._longest, seconds)

    def longest(self) -> float:
        """The longest lag of the last minute, in seconds; it is forgotten after two at the latest."""
        self._turn()
        return max(self._longest, self._longest_before)

    def blocked(self, by: str, seconds: float, *, again: bool = False) -> None:
        """Count a block; `again` only corrects what was noted of the latest one."""
        self.blocks += not again
        self._latest = self._clock(), by, seconds

    def blocked_lately(self) -> str | None:
        """What readiness tells: what held up the loop in the last minute; None when nothing did."""
        if self._latest is None or self._clock() - self._latest[0] > LATELY_SECONDS:
            return None
        _, by, seconds = self._latest
        return f"held up for {seconds:.1f} s by {by} ({self.blocks} times in all); see the log"

    def _turn(self) -> None:
        past = self._clock() - self._since
        if past >= LATELY_SECONDS:
            self._longest_before = self._longest if past < 2 * LATELY_SECONDS else 0.0
            self._longest = 0.0
            self._since += past


LOOP: Final = LoopAccount()


class LoopWatch:
    """Watches the loop on which its context is entered, until it is left."""

    def __init__(
        self,
        limit_seconds: float,
        *,
        running: Callable[[FrameType], Mapping[str, str]],
        lagged: Callable[[float], None],
        account: LoopAccount = LOOP,
    ) -> None:
        """Nothing runs yet.

        Args:
            limit_seconds: How late a heartbeat may be.
            running: Says what a stack (given by its innermost frame) is busy with, as facts for the log. Called on a thread of its own,
                while the loop stands still: it must take no lock.
            lagged: Takes each heartbeat's lag, in seconds, on the loop.
            account: Where blocks are noted.
        """
        self._limit = limit_seconds
        self._running = running
        self._lagged = lagged
        self._account = account
        self._due = 0.0
        self._held: float | None = None
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        """Start heartbeat and thread."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._due = monotonic() + BEAT_SECONDS
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beat)
        self._thread = threading.Thread(target=self._watch, name="loop-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End both. The thread wakes up at once; a log that cannot be written to holds us up for at most a second."""
        self._timer.cancel()
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)

    def _beat(self) -> None:
        now = monotonic()
        lag = max(0.0, now - self._due)
        if lag >= self._limit:
            self._held = lag  # before `_due`, which tells the thread that the block is over
        self._due = now + BEAT_SECONDS
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beat)
        self._account.lagged(lag)
        self._lagged(lag)

    def _watch(self) -> None:
        while not self._stop.wait(max(_SAMPLE_SECONDS, self._due + self._limit - monotonic())):
            due = self._due
            try:
                if self._held is not None:  # over before we ran: whatever it was kept every other thread from running, too
                    self._tell_of(Counter(), self._take_held(), over=True)
                elif monotonic() - due >= self._limit:
                    self._follow(due)
            except Exception as error:  # boundary: protects the next block's event; this one may go on, and would fail 20 times a second
                FAULTS.note("loop-watch", error, restarts=True)
                self._stop.wait(LATELY_SECONDS)

    def _follow(self, due: float) -> None:
        """Look at a block again and again until it is over, which is when the heartbeat is due anew."""
        seen: Counter[Seen] = Counter()
        told = None
        noticed = monotonic()
        while self._due == due:
            if told is None:
                sample = self._look()
                if self._due == due:
                    seen[sample] += 1
                if monotonic() - noticed >= TOLD_AFTER_SECONDS:
                    told = self._tell_of(seen, monotonic() - due, over=False)
            if self._stop.wait(_SAMPLE_SECONDS):
                break
        seconds = self._take_held() or monotonic() - due
        if told is None:
            self._tell_of(seen, seconds, over=True)
        else:
            self._account.blocked(told, seconds, again=True)

    def _look(self) -> Seen:
        """What the loop's thread does now. No frame is kept: it would keep alive what the tool's variables hold."""
        frames = sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - documented; nothing else shows another thread
        frame = frames.pop(self._loop_thread)
        return where(frame), tuple(self._running(frame).items())

    def _take_held(self) -> float:
        held, self._held = self._held, None
        return held or 0.0

    def _tell_of(self, seen: Counter[Seen], seconds: float, *, over: bool) -> str:
        """Tell of what was seen most often, and return it in words."""
        place, facts = seen.most_common(1)[0][0] if seen else ("unknown", ())
        by = " ".join((*(f"{kind} {name}" for kind, name in facts), f"at {place}"))
        self._account.blocked(by, seconds)
        log.warning("loop.blocked", **dict(facts), where=place, seconds=round(seconds, 3), over=over)
        return by


def where(frame: FrameType) -> str:
    """The line that holds up a stack, as `file:line in function`, given its innermost frame.

    That is the innermost line of somebody's own code; where all of it is installed as packages, the line at which the runtime enters
    the first package that is not part of it; else the innermost line there is.
    """
    entered = None
    each: FrameType | None = frame
    while each is not None:
        match _owner(each.f_code.co_filename):
            case None:
                return _place(each)
            case package if package in _SERVERS:
                break
            case package if package not in _RUNTIME:
                entered = each
            case _:
                pass
        each = each.f_back
    return _place(entered or frame)


def _owner(file: str) -> str | None:
    """Whose code a file is: the package it is installed in, `moorage` for the runtime's and the language's own; None for the user's."""
    if file.startswith("<") or file.startswith(_OURS):
        return "moorage"
    parts = Path(file).parts
    for folder in _PACKAGES:
        if folder in parts[:-1]:
            return parts[parts.index(folder) + 1].removesuffix(".py")
    return "moorage" if file.startswith(_STANDARD_LIBRARY) else None


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"

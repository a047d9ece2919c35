"""The end of a process that was told to end, whatever it waits for by then.

A drain bounds what the runtime does itself. What it cannot bound is the code that it serves: a lifespan that never comes out of its start
or its shutdown, a loop that is blocked, a thread for which the interpreter waits. A thread of its own, which needs neither the loop nor the
main thread, gives them until the time is up, says which it was, and ends the process. It is for processes that are the runtime's own: a
program that serves the app within itself may have reasons to live on.

Source: docs/decisions/2026-11-22-drain.md
"""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from queue import SimpleQueue
from time import monotonic, sleep
from typing import Final, TypeVar

import structlog

from moorage.lifecycle.loop_watch import where

THREADS: Final = "threads that are no daemons"
LAST: Final = "tasks that go on, or what is to run at the interpreter's exit"
_MOST_NAMED: Final = 20

T = TypeVar("T")

log = structlog.get_logger("moorage.lifecycle")


class ExitDeadline:
    """Ends the process some time after it was told to end.

    Args:
        seconds: From `begin` to the end.
        flushing: How many of these are for `flush`, at the end; it is called on the thread, and may wait as long.
        flush: Saves what would be lost.
        end: Ends the process; called last.
    """

    def __init__(self, seconds: float, flushing: float, flush: Callable[[], object], end: Callable[[], object]) -> None:
        self._seconds = seconds
        self._flushing = flushing
        self._flush = flush
        self._end = end
        self._waits_for = "its start"
        self._begun: SimpleQueue[float] = SimpleQueue()

    def start(self) -> None:
        """Start the thread, without which nothing ends."""
        threading.Thread(target=self._wait, name="exit-deadline", daemon=True).start()

    def begin(self) -> None:
        """Let the time run. May be called in a signal's handler: `SimpleQueue.put` takes no lock that the interrupted code may hold."""
        self._begun.put(monotonic())

    def waits_for(self, what: str) -> None:
        """Take note of what the process waits for from now on if it is to end; empty once it is only the interpreter that has to."""
        self._waits_for = what

    @asynccontextmanager
    async def around(self, lifespan: AbstractAsyncContextManager[T]) -> AsyncGenerator[T]:
        """Enter and leave the lifespan of what is served, and say so."""
        self.waits_for("the start of the server's lifespan")
        async with lifespan as state:
            self.waits_for("its start")
            try:
                yield state
            finally:
                self.waits_for("the shutdown of the server's lifespan")

    def _wait(self) -> None:
        due = self._begun.get() + self._seconds
        try:
            sleep(max(0.0, due - self._flushing - monotonic()))
            self._flush()
            sleep(max(0.0, due - monotonic()))
            self._tell()
        finally:
            self._end()

    def _tell(self) -> None:
        threads = [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
        log.error(
            "exit.overdue",
            waited_for=self._waits_for or (THREADS if threads else LAST),
            threads=threads[:_MOST_NAMED],
            where=_where_the_main_thread_is(),
            seconds=self._seconds,
            effect="the process ends without it; what it had not saved is lost",
        )


def _where_the_main_thread_is() -> str:
    frames = sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - documented; nothing else shows another thread
    frame = frames.get(threading.main_thread().ident or 0)
    return "unknown" if frame is None else where(frame)

"""The event loop that a worker serves on: uvloop, whose run ends with what it was started for and with nothing else.

A plain callback that raises `SystemExit` or `KeyboardInterrupt` (`loop.call_soon(sys.exit)`, a timer, a done-callback) ends the run
of asyncio's loops, and with it the process. What was ready besides is still there, so the run goes on. It costs nothing while nothing is
raised.

Source: docs/decisions/2026-11-25-supervision.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any, Final, TypeVar

import uvloop

from moorage.lifecycle.supervised import FAULTS

SERVING_LOOP: Final = "moorage.runtime.loop:ServingLoop"
"""For uvicorn's option `loop`."""

T = TypeVar("T")


class ServingLoop(uvloop.Loop):
    """Goes on after a callback that tried to end it; the fault is counted and logged as one of the loop."""

    _main: asyncio.Future[Any] | None = None

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """As every loop's; an exit that comes of `future` itself ends the run."""
        self._main = future if asyncio.isfuture(future) else None  # asyncio.Runner gives its task, and coroutines only to shut down
        try:
            return super().run_until_complete(future)
        finally:
            self._main = None

    def run_forever(self) -> None:
        """As every loop's, but for the exits of callbacks."""
        while True:
            try:
                return super().run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                if self._main is None or self._main.done():
                    raise
                FAULTS.note("loop", error)

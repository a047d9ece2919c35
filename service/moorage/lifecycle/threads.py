"""Threads for functions that may never return.

They are daemons: a process ends without waiting for them, where it would wait for the threads of anyio and of asyncio's default executor.
Promises that a function sees what it would see in a worker thread of anyio: a copy of the caller's context variables, and an event loop to
come back to (`anyio.from_thread.run`, `anyio.from_thread.check_cancelled`). How many there are is for the caller to bound.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, Final

import anyio
from anyio.lowlevel import EventLoopToken, current_token

try:
    from anyio._core import _eventloop as _inside
except ImportError:  # of another release
    _inside = None
_eventloop: Any = _inside

_PARTS: Final = ("set_current_async_library", "threadlocals")
"""How a thread of anyio's own is told which loop and which cancel scope it works for."""


def missing_parts() -> list[str]:
    """What is relied on of anyio's inside and is not there; does not wait."""
    return [f"anyio.{part}" for part in _PARTS if not hasattr(_eventloop, part)]


class Work:
    """One function, from its caller to its return.

    Attributes:
        function: What to run.
        scope: The caller's cancel scope, which `check_cancelled` looks at.
        context: The caller's context variables, copied.
        result: What it returned, if it did.
        error: What it raised.
    """

    __slots__ = ("context", "error", "function", "result", "scope")

    def __init__(self, function: Callable[[], Any], scope: anyio.CancelScope) -> None:
        self.function = function
        self.scope = scope
        self.context: Context = copy_context()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run the function in this thread, and keep what comes of it."""
        _eventloop.threadlocals.current_cancel_scope = self.scope
        try:
            self.result = self.context.run(_called, self.function)
        except BaseException as error:  # boundary: the caller gets it, whatever it is; a thread that ends would be missing
            self.error = error
        finally:
            del _eventloop.threadlocals.current_cancel_scope


def _called(function: Callable[[], Any]) -> Any:
    _eventloop.set_current_async_library(None)  # or the function could not run a loop of its own
    return function()


class DaemonThreads:
    """As many threads as were ever busy at one time.

    Args:
        returned: Called on the loop when the function of a piece of work has returned or raised.
    """

    def __init__(self, returned: Callable[[Any], None]) -> None:
        self._returned = returned
        self._loop = asyncio.get_running_loop()
        self._token = current_token()
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._threads: int = 0
        self._busy = 0

    def begin(self, work: Work) -> None:
        """Run work in a thread; does not wait.

        Raises:
            RuntimeError: The system starts no more threads.
        """
        if self._busy == self._threads:
            thread = threading.Thread(
                target=_serve, args=(self._queue, self._loop, self._token, self._back), name=f"moorage-{self._threads + 1}", daemon=True
            )
            thread.start()
            self._threads += 1
        self._busy += 1
        self._queue.put(work)

    def close(self) -> None:
        """End the threads, each when its function has returned; waits for none."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _back(self, work: Work) -> None:
        self._busy -= 1
        self._returned(work)


def _serve(queue: SimpleQueue[Work | None], loop: asyncio.AbstractEventLoop, token: EventLoopToken, back: Callable[[Work], None]) -> None:
    _eventloop.threadlocals.current_token = token
    while (work := queue.get()) is not None:
        work.run()
        with suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
            loop.call_soon_threadsafe(back, work)
        del work  # or its result would be held until the next

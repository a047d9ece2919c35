"""Threads for functions that may never return.

They are daemons: a process ends without waiting for them, where it would wait for the threads of anyio and of asyncio's default executor.
Promises that a function sees what it would see in a worker thread of anyio: a copy of the caller's context variables, and an event loop to
come back to (`anyio.from_thread.run`, `anyio.from_thread.check_cancelled`). How many there are is for the caller to bound.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

import anyio
from anyio.lowlevel import EventLoopToken, current_token

try:
    from anyio._core import _eventloop as _inside
except ImportError:  # of another release
    _inside = None
_eventloop: Any = _inside

_P = ParamSpec("_P")
_T = TypeVar("_T")

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


class DaemonExecutor(ThreadPoolExecutor):
    """An event loop's default executor (`asyncio.to_thread`) for which no exit waits.

    That of asyncio is joined by `asyncio.run` and once more by the interpreter, so that one function which hangs keeps the process. It has
    as many threads as that one; what finds none waits. The loop takes nothing but a `ThreadPoolExecutor`, none of whose threads are used.
    """

    def __init__(self) -> None:
        self._most = min(32, (os.cpu_count() or 1) + 4)
        super().__init__(self._most)
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0
        self._lock = threading.Lock()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run a function in a thread when there is one; does not wait.

        Raises:
            RuntimeError: The system starts no more threads.
        """
        future: Future[_T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # boundary: it is the caller's, and a thread that ends would be missing
                future.set_exception(error)

        with self._lock:
            if not self._idle.acquire(blocking=False) and self._started < self._most:
                threading.Thread(target=self._run, name=f"moorage-executor-{self._started + 1}", daemon=True).start()
                self._started += 1
            self._calls.put(call)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads, each when its function has returned; waits for none."""
        del wait
        super().shutdown(wait=False, cancel_futures=cancel_futures)
        for _ in range(self._started):
            self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # or what it holds would be held until the next
            self._idle.release()

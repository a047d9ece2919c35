"""The event loop's run is nobody's to end: what tasks raise stays in them, and what asyncio reports is counted.

asyncio sets `SystemExit` and `KeyboardInterrupt` on the task that raised them and raises them out of the loop's run as well, so that a
`sys.exit()` in a task which a tool has started would end the process with every call in it. A task factory hands each coroutine over in a
wrapper that raises an ordinary exception instead, to whoever awaits the task. uvicorn's task of a request and contained work are left as
they are: they catch everything themselves, and they are on the way of every request and stream. A signal ends the process as before
(`lifecycle.signals`). A plain callback (`loop.call_soon(sys.exit)`) is no task: only our own worker's loop goes on after one
(`runtime.loop`).

Source: docs/decisions/2026-11-25-supervision.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from moorage.lifecycle.supervised import FAULTS, SAFE_CODE

_SAFE: Final = (RequestResponseCycle.run_asgi.__code__, SAFE_CODE)
"""Coroutines that nothing but an ordinary exception leaves; the wrapper would cost each of them time and memory."""

_LEAVES: Final = (SystemExit, KeyboardInterrupt, GeneratorExit)
"""The last is no end of the run, but thrown into whoever awaits the task it would close all its frames instead of being caught in one."""


class TaskExitError(RuntimeError):
    """What a task ends with whose code raised `SystemExit`, `KeyboardInterrupt` or `GeneratorExit`, which is the cause."""


class _Kept(Coroutine[Any, Any, Any]):
    """A coroutine whose `SystemExit` and its like are ordinary exceptions; all else of it is its own (`cr_frame` and so on)."""

    __slots__ = ("__weakref__", "_coro")

    def __init__(self, coro: Coroutine[Any, Any, Any]) -> None:
        self._coro = coro

    def send(self, value: Any) -> Any:
        """As a coroutine's, but for what leaves the loop."""
        try:
            return self._coro.send(value)
        except _LEAVES as error:
            raise TaskExitError(f"{type(error).__name__} in a task: only a signal ends the process") from error

    def throw(self, *error: Any) -> Any:
        """As a coroutine's, but for what leaves the loop."""
        try:
            return self._coro.throw(*error)
        except _LEAVES as left:
            raise TaskExitError(f"{type(left).__name__} in a task: only a signal ends the process") from left

    def close(self) -> None:
        """As a coroutine's."""
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coro.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coro, name)


@contextmanager
def guarded_loop() -> Generator[None]:
    """Guard the running loop until the context is left; a task factory and an exception handler that were there before go on working."""
    loop = asyncio.get_running_loop()
    factory, handler = loop.get_task_factory(), loop.get_exception_handler()
    loop.set_task_factory(_factory(factory))
    loop.set_exception_handler(_counting(handler))
    try:
        yield
    finally:
        loop.set_task_factory(factory)
        loop.set_exception_handler(handler)


def _factory(before: Callable[..., Any] | None) -> Callable[..., Any]:
    def make(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
        if getattr(coro, "cr_code", None) not in _SAFE:
            coro = _Kept(coro)
        return asyncio.Task(coro, loop=loop, **options) if before is None else before(loop, coro, **options)

    return make


def _counting(
    before: Callable[[asyncio.AbstractEventLoop, Any], object] | None,
) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), BaseException):
            FAULTS.counts["loop"] += 1
        if before is None:
            loop.default_exception_handler(context)
        else:
            before(loop, context)

    return handle

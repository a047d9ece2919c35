"""SIGTERM begins a drain; the server hears of it only when the drain is done.

An ASGI server answers SIGTERM by closing its listener and waiting for connections, and only then tells the app, which is
too late to end streams in their proper way. So the app's lifespan puts itself in front of the handler that the server
installed. It works the same under gunicorn's worker, under plain uvicorn and under any server with a handler of its own.

A second signal cuts the drain short. Ctrl-C at a terminal reaches a worker twice, from the terminal and from its master,
so what comes within the first second is taken for an echo.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import structlog

from moorage.lifecycle.supervised import contained

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_ECHO_SECONDS: Final = 1.0
_LAST_CONNECTIONS_SECONDS: Final = 1

_log = structlog.stdlib.get_logger("moorage.lifecycle")


@contextmanager
def chain_sigterm(begin: Callable[[], Awaitable[object]], signalled: Callable[[], object] = lambda: None) -> Generator[None]:
    """Run `begin` on SIGTERM or SIGINT, and the handler found here when it is done.

    `signalled` is called at once with the first of them, within the signal's handler: a loop that is blocked does not hold it up.
    Has to be entered on the event loop's thread. Outside the main thread, where Python delivers no signals, it does nothing.
    After a signal the handlers stay in place, so that another one while the process ends cannot turn exit 0 into a death.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    chain = _Chain(begin, signalled, asyncio.get_running_loop())
    previous = chain.install()
    try:
        yield
    finally:
        if not chain.signalled:
            for number, handler in previous.items():
                signal.signal(number, handler)


class _Chain:
    def __init__(self, begin: Callable[[], Awaitable[object]], signalled: Callable[[], object], loop: asyncio.AbstractEventLoop) -> None:
        self._begin = begin
        self._tell_signalled = signalled
        self._loop = loop
        self._previous: dict[int, Any] = {}
        self._first: float | None = None
        self._drain: asyncio.Task[object] | None = None

    @property
    def signalled(self) -> bool:
        return self._first is not None

    def install(self) -> dict[int, Any]:
        self._previous = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        return self._previous

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Runs between two instructions of whatever the main thread does: it only leaves a note for the loop."""
        now = self._loop.time()
        if self._first is None:
            self._first = now
            self._tell_signalled()
            self._schedule(self._start, number)
        elif now - self._first >= _ECHO_SECONDS:
            self._schedule(self._force, number)

    def _schedule(self, step: Callable[[int], None], number: int) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(step, number)

    def _start(self, number: int) -> None:
        _log.info("drain.begun", signal=signal.Signals(number).name)
        self._drain = contained("drain", self._begin)
        self._drain.add_done_callback(lambda _: _hand_over(self._previous[number], number))

    def _force(self, number: int) -> None:
        if self._drain is not None and self._drain.cancel():
            _log.warning("drain.cut_short", signal=signal.Signals(number).name)


def _hand_over(previous: Any, number: int) -> None:
    """Let whoever handled the signal before us handle it now.

    uvicorn's own handler also notes the signal, and raises it again after its shutdown: the process would die of SIGTERM
    instead of exiting with 0. Its public flag does the rest of what the handler does.
    """
    server: Any = getattr(previous, "__self__", None)
    if isinstance(getattr(server, "should_exit", None), bool):
        _bound_last_connections(server)
        server.should_exit = True
    elif callable(previous) and not isinstance(previous, signal.Handlers):
        previous(number, None)
    elif previous == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _bound_last_connections(server: Any) -> None:
    """Give connections that outlived the drain a last second; uvicorn's default is to wait for them for ever."""
    config: Any = getattr(server, "config", None)
    if getattr(config, "timeout_graceful_shutdown", 0) is None:
        config.timeout_graceful_shutdown = _LAST_CONNECTIONS_SECONDS

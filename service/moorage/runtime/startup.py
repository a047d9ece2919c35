"""The start: quick, and when it fails, one message for the person who started it.

Owns the way of a `MoorageError` from the place in a worker where it is raised (building the app, or its lifespan), through
the processes and libraries in between, to the process that the person started, which ends with it. Faults nobody foresaw
keep their traceback.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import orjson

from moorage.errors import MoorageError, SettingsError, TargetError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_KINDS: Final = {kind.__name__: kind for kind in (MoorageError, SettingsError, TargetError)}
_PIPE_WRITES_WHOLE: Final = 4096  # bytes that a pipe takes at once, whatever the others write


@contextmanager
def building() -> Generator[None]:
    """Import and build without the garbage collector, and spare it what was built.

    Imports make hundreds of thousands of objects that live as long as the process. Looking through them again and again
    takes a fifth of the start, and later a pause in every full collection.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class StartReports:
    """A pipe from the workers to their master; made before the fork."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def send(self, error: MoorageError) -> None:
        """Report, in a worker, why it cannot start."""
        with suppress(BlockingIOError):  # the pipe is full of the same news
            os.write(self._writer, _line(error))

    def receive(self) -> MoorageError | None:
        """Return, in the master, the first report there is; what the others say at the same time is dropped."""
        lines = b""
        with suppress(BlockingIOError):
            while True:  # a pipe holds 64 KiB, and workers write one line each
                lines += os.read(self._reader, _PIPE_WRITES_WHOLE)
        if not lines:
            return None
        kind, message, hint = orjson.loads(lines.partition(b"\n")[0])
        return _KINDS.get(kind, MoorageError)(message, hint)


def _line(error: MoorageError) -> bytes:
    characters = _PIPE_WRITES_WHOLE
    while True:
        line = orjson.dumps([type(error).__name__, error.message[:characters], error.hint[:characters]]) + b"\n"
        if len(line) <= _PIPE_WRITES_WHOLE:
            return line
        characters //= 2


class PlainStart:
    """An ASGI app whose failing start is told in words to `on_refusal`, and not as a traceback to the server's log."""

    def __init__(self, app: App, on_refusal: Callable[[MoorageError], None]) -> None:
        self._app = app
        self._on_refusal = on_refusal

    def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
        """Hand on; what is served is not wrapped, so that a request costs nothing more."""
        return self._app(scope, receive, send) if scope["type"] != "lifespan" else self._live(scope, receive, send)

    async def _live(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        async def say(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and (refusal := _refusal_in(sys.exception())) is not None:
                logging.getLogger("uvicorn.error").disabled = True  # it would add that the start failed, twice
                self._on_refusal(refusal)
                message = {"type": message["type"], "message": ""}
            await send(message)

        await self._app(scope, receive, say)


def _refusal_in(error: BaseException | None) -> MoorageError | None:
    """Find our own error, also inside the groups that task groups wrap around it."""
    if isinstance(error, BaseExceptionGroup):
        found = (_refusal_in(inner) for inner in error.exceptions)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]
        return next((refusal for refusal in found if refusal is not None), None)
    return error if isinstance(error, MoorageError) else None

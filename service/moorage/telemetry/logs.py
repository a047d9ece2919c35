"""The log: one event a line, on one stream, in one format.

Owns the pipeline of our own events (structlog, rendered and written directly, since one is written for every call) and the
handler that brings the loggers of others (uvicorn, gunicorn, the SDK, warnings) into the same format; `foreign` says what of theirs may be
written. Promises: JSON has one line an event, a value cannot begin a line of its own in either format, and a stream that fails never fails
the caller, and a reader that stops never holds it up. Which facts an event carries is decided where it is written.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final, Literal, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger

from moorage.telemetry import foreign
from moorage.telemetry.log_pipe import PipeWriter, is_read_by_a_process
from moorage.telemetry.redaction import short
from moorage.telemetry.rendering import Renderer, console_renderer, render_json

__all__ = ["Format", "Level", "configure", "get_logger", "short"]

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

_ADOPTED: Final = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "gunicorn", "gunicorn.error", "mcp", "py.warnings")
_SILENCED: Final = ("uvicorn.access", "gunicorn.access")  # one event per MCP operation says more
_NEVER_BELOW_INFO: Final = ("mcp", "asyncio", "urllib3", "httpcore", "httpx")  # their debug output shows whole messages and URLs


def _discard(_line: bytes = b"") -> None:
    """Stand in for a stream until there is one."""


class _Sink:
    """Where lines go. Loggers are cached for speed, so they hold this and not the stream."""

    __slots__ = ("_lock", "_pipe", "_stream", "_write")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipe: PipeWriter | None = None
        self._stream: TextIO | None = None
        self._write: Callable[[bytes], object] = _discard

    def point_to(self, stream: TextIO | None) -> None:
        """Write to this stream from now on, or nowhere."""
        self._stream, self._pipe, self._write = stream, None, _discard if stream is None else self._wait_for_stream
        with suppress(OSError, ValueError):  # not every stream has a descriptor
            if stream is not None and is_read_by_a_process(stream.fileno()):
                self._pipe = PipeWriter(stream.fileno(), _told_dropped)
                self._write = self._pipe.line

    def line(self, rendered: bytes) -> None:
        """Write one event."""
        # boundary: protects the caller; a reader that went away or a full disk must not fail a request
        with suppress(OSError, ValueError):
            self._write(rendered + b"\n")

    def finish(self) -> None:
        """Wait a moment for whoever reads the log, at the end of the process."""
        if self._pipe is not None:
            self._pipe.finish()

    def forked(self) -> None:
        """Be whole in a child, whatever the parent's threads were doing."""
        self._lock = threading.Lock()
        if self._pipe is not None:
            self._pipe.forked()

    def _wait_for_stream(self, line: bytes) -> None:
        stream = cast(TextIO, self._stream)
        buffer = getattr(stream, "buffer", None)
        with self._lock:
            if buffer is None:
                stream.write(line.decode("utf-8", "backslashreplace"))
            else:
                buffer.write(line)
            stream.flush()


class _Output:
    """What structlog calls a logger: takes a rendered event, under the name of its level."""

    __slots__ = ("name",)

    def __init__(self, name: str = "moorage") -> None:
        self.name = name

    def line(self, rendered: bytes) -> None:
        _sink.line(rendered)

    debug = info = warning = error = critical = line


class _ForeignHandler(logging.Handler):
    """Renders the standard library's records like our own events."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if (facts := foreign.facts(record)) is not None:
                _sink.line(_renderer[0](None, record.levelname.lower(), facts))
        except Exception:  # boundary: protects whoever logs, as logging itself does
            self.handleError(record)


_sink: Final = _Sink()
_handler: Final = _ForeignHandler()
_renderer: list[Renderer] = [render_json]
atexit.register(_sink.finish)
os.register_at_fork(after_in_child=_sink.forked)


def configure(level: Level, fmt: Format = "auto", stream: TextIO | None = None) -> None:
    """Send every event of this process to one stream. May be called again; the last call decides stream and format.

    Args:
        level: Least severe level that is written. A logger keeps the level of its first use.
        fmt: `auto` is `console` when the stream is a terminal, else `json`.
        stream: Default: standard error.
    """
    stream = stream or cast("TextIO | None", sys.stderr)  # None where the process was started without one
    colors = stream is not None and stream.isatty()
    _sink.point_to(stream)
    _renderer[0] = console_renderer(colors=colors) if fmt == "console" or (fmt == "auto" and colors) else render_json
    structlog.configure(
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
        logger_factory=_Output,
        cache_logger_on_first_use=True,
    )
    _adopt(logging.getLevelNamesMapping()[level.upper()])


def finish() -> None:
    """Wait a moment (a second at most) for whoever reads the log: for a process that ends without the interpreter's own end."""
    _sink.finish()


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of a room, for example `moorage.edge`. It may be created before `configure`, and used after it."""
    return cast(FilteringBoundLogger, structlog.get_logger(name))


def _told_dropped(lines: int) -> bytes:
    return _renderer[0](None, "warning", {"event": "logs.dropped", "logger": "moorage.telemetry", "lines": lines}) + b"\n"


def _render(output: _Output, level: str, event: MutableMapping[str, Any]) -> bytes:
    event.setdefault("logger", output.name)
    return _renderer[0](output, level, event)


def _adopt(level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if type(handler) is not logging.StreamHandler and handler is not _handler]
    root.addHandler(_handler)
    root.setLevel(level)
    for name in _ADOPTED:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    for name in _SILENCED:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = False
    for name in _NEVER_BELOW_INFO:
        logging.getLogger(name).setLevel(max(level, logging.INFO))
    logging.captureWarnings(True)

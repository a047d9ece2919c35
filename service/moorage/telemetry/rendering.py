"""One event as one line of bytes: JSON for machines, columns for a terminal.

Owns the shape of a line. Promises that rendering never raises over a value, and that no value ends a line or drives the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, cast

import orjson
import structlog
from opentelemetry import trace

from moorage.telemetry.outline import outline
from moorage.telemetry.redaction import redact

Event = MutableMapping[str, Any]
Renderer = Callable[[Any, str, Event], bytes]

_OPTIONS: Final = orjson.OPT_UTC_Z
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    10: "\\n",
    13: "\\r",
    9: "\\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_CONTROLS_IN_TEXT: Final = {code: escape for code, escape in _CONTROLS.items() if code not in {9, 10}}


def render_json(_logger: Any, level: str, event: Event) -> bytes:
    """Render as JSON: ts (RFC 3339, UTC), level, event, logger, then the facts."""
    line = _head(level, event)
    line |= event
    try:
        return orjson.dumps(line, default=repr, option=_OPTIONS)
    except TypeError:  # lone surrogates, integers beyond 64 bits, keys that are no strings: rare, and never a reason to lose the event
        line["ts"] = line["ts"].isoformat()
        try:
            return json.dumps({str(key): value for key, value in line.items()}, default=repr).encode()
        except (ValueError, RecursionError):  # circular, nested too deep, or an integer of too many digits
            return json.dumps({str(key): value if isinstance(value, str) else type(value).__name__ for key, value in line.items()}).encode()


def console_renderer(*, colors: bool) -> Renderer:
    """Return a renderer for people."""
    columns = structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="ts", pad_event_to=20)

    def render(logger: Any, level: str, event: Event) -> bytes:
        line = _head(level, event)
        line["ts"] = line["ts"].strftime("%H:%M:%S.%f")[:-3]
        exception = line.pop("exception", None)
        line |= event
        safe = {str(key).translate(_CONTROLS): _one_line(value) for key, value in line.items()}
        text = columns(logger, level, safe)
        if exception is not None:  # indented, so that no line of it can pass for an event
            text += "".join(f"\n    {part}" for part in exception.translate(_CONTROLS_IN_TEXT).splitlines())
        return text.encode("utf-8", "backslashreplace")

    return render


def _head(level: str, event: Event) -> dict[str, Any]:
    """Take from the event what every line begins with; the caller appends the facts that are left."""
    line: dict[str, Any] = {
        "ts": datetime.now(UTC),
        "level": level,
        "event": event.pop("event", ""),
        "logger": event.pop("logger", "moorage"),
    }
    if "trace_id" not in event:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = f"{context.trace_id:032x}"
    if "exc_info" in event:
        exception = _exception(event.pop("exc_info"))
        if exception is not None:
            line["exception"] = exception
    if "ts" in event or "level" in event:
        event.pop("ts", None)
        event.pop("level", None)
    return line


def _one_line(value: Any) -> Any:
    if isinstance(value, (int, float)) or value is None:
        return value
    return (value if isinstance(value, str) else repr(value)).translate(_CONTROLS)


def _exception(exc_info: Any) -> str | None:
    if exc_info is True:
        exc_info = sys.exc_info()
    if isinstance(exc_info, tuple):
        exc_info = cast(tuple[type[BaseException], BaseException | None, TracebackType], exc_info)[1]
    if not isinstance(exc_info, BaseException):
        return None
    return redact(outline(exc_info))

"""What may be written of the records of other libraries.

Owns the rewriting of log records that would show more than we show ourselves (whole session ids, the text of a tool's failure, a resource's
query), and keeps an exporter without a collector from filling the log. Promises that a record is short, whatever its arguments are: they
may be a caller's, 4 MiB of a tool's name among them, and are cut before they are formatted and searched.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from sys import getsizeof
from typing import Any, Final, cast

from moorage.memo import BoundedMemo
from moorage.telemetry.redaction import cut, redact, safe_uri, short

_SESSION_IDS: Final = re.compile(
    r"(?P<before>\b(?:session )?ID: |\b[Ss]ession: |\bfor session |^Session (?=\S+ (?:idle|crashed)))(?P<named>[^\s:]+)"
    r"|(?P<bare>\b[0-9a-f]{32}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)"
)
_FIRST_ARGUMENT_ONLY: Final = {
    "Tool %r failed: %r": "Tool %r failed",
    "Tool %r rejected arguments: %r": "Tool %r rejected arguments",  # below the first level, names are the caller's
    "Resource %r failed: %r": "Resource %r failed",
}
_EXPORTING: Final = ("opentelemetry.exporter", "opentelemetry.sdk")
_MAX_ARGUMENT: Final = 256
"""Characters of an argument: two names of the greatest length that the protocol names."""

_MAX_MESSAGE: Final = 8192
"""Characters of a message: a warning is one with its source line, and gunicorn tells its configuration in 4,000."""

_WARNINGS: Final = "py.warnings"
"""The logger whose one argument is its message."""

_QUIET_SECONDS: Final = 60.0
_SAID_BYTES: Final = 256
"""Of a message that was written, beside its texts."""

_said: Final = BoundedMemo[tuple[str, str], float](entries=256, max_bytes=256 * 1024)


def facts(record: logging.LogRecord) -> dict[str, Any] | None:
    """Return the event that a record becomes, or None when it is not written."""
    if record.name.startswith(_EXPORTING) and _said_lately(record):
        return None
    message = _message(record)
    event: dict[str, Any] = {"event": redact(message), "logger": record.name}
    if record.exc_info:
        event["exc_info"] = record.exc_info
    return event


def _message(record: logging.LogRecord) -> str:
    """The message with its arguments cut; whole session ids of the SDK's are hashed."""
    template, arguments = str(record.msg), cast("tuple[Any, ...] | Mapping[str, Any] | None", record.args)
    is_sdk = record.name.startswith("mcp")
    if isinstance(arguments, Mapping):
        template %= {name: _short(value) for name, value in arguments.items()}
    elif arguments and record.name != _WARNINGS:
        first, *rest = arguments
        if is_sdk and template.startswith("Resource "):
            first = safe_uri(str(first))
        only = _FIRST_ARGUMENT_ONLY.get(template) if is_sdk else None
        template = only % (_short(first),) if only else template % (_short(first), *map(_short, rest))
    elif arguments:
        template %= arguments
    message = cut(template, _MAX_MESSAGE)
    return _SESSION_IDS.sub(_hashed, message) if is_sdk else message


def _short(argument: object) -> object:
    if isinstance(argument, str):
        return cut(argument, _MAX_ARGUMENT)
    return argument[:_MAX_ARGUMENT] if isinstance(argument, bytes) else argument


def _hashed(match: re.Match[str]) -> str:
    return (match["before"] or "") + short(match["named"] or match["bare"])


def _said_lately(record: logging.LogRecord) -> bool:
    """Tell whether this message was written less than a minute ago: a collector that is down stays down for a while."""
    key = (record.name, str(record.msg)[:80])
    now = time.monotonic()
    said = _said.get(key)
    if said is not None and now - said < _QUIET_SECONDS:
        return True
    _said.put(key, now, _SAID_BYTES + getsizeof(key[1]))
    return False

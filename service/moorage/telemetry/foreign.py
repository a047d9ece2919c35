"""What may be written of the records of other libraries.

Owns the rewriting of log records that would show more than we show ourselves (whole session ids, the text of a tool's failure, a resource's
query), and keeps an exporter without a collector from filling the log.
"""

from __future__ import annotations

import logging
import re
import time
from sys import getsizeof
from typing import Any, Final

from moorage.memo import BoundedMemo
from moorage.telemetry.redaction import redact, safe_uri, short

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
_QUIET_SECONDS: Final = 60.0
_SAID_BYTES: Final = 256
"""Of a message that was written, beside its texts."""

_said: Final = BoundedMemo[tuple[str, str], float](entries=256, max_bytes=256 * 1024)


def facts(record: logging.LogRecord) -> dict[str, Any] | None:
    """Return the event that a record becomes, or None when it is not written."""
    if record.name.startswith(_EXPORTING) and _said_lately(record):
        return None
    message = _sdk_message(record) if record.name.startswith("mcp") else record.getMessage()
    event: dict[str, Any] = {"event": redact(message), "logger": record.name}
    if record.exc_info:
        event["exc_info"] = record.exc_info
    return event


def _sdk_message(record: logging.LogRecord) -> str:
    message = record.getMessage()
    if isinstance(record.args, tuple) and record.args:
        first, *rest = record.args
        if record.msg.startswith("Resource "):
            first = safe_uri(str(first))
        template = _FIRST_ARGUMENT_ONLY.get(record.msg)
        message = template % (first,) if template else record.msg % (first, *rest)
    return _SESSION_IDS.sub(_hashed, message)


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

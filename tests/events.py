"""What the service writes, the lines of the SDK and of other libraries among them (`tests.logged` has the own events of every level)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moorage.telemetry import logs


@contextmanager
def written() -> Iterator[list[dict[str, Any]]]:
    """Collect what the whole pipeline writes; the list is filled when the block ends."""
    stream, events = io.StringIO(), list[dict[str, Any]]()
    logs.configure("info", "json", stream)
    try:
        yield events
    finally:
        events.extend(json.loads(line) for line in stream.getvalue().splitlines())
        logs.configure("error", "json")

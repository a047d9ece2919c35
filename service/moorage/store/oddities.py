"""What stands in the store and cannot be read: skipped, counted, and told at most once a minute.

Others write to the store, too: a later release, an operator, an attacker. No entry of theirs may leave the request or the session that
met it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from moorage.log_limit import LogLimit

KINDS: Final = ("notice", "session", "owner", "registration", "subscription", "event", "ring")
"""Labels of the count: what was to be read."""

log = structlog.get_logger("moorage.store")


class Oddities:
    """Counts what this process has skipped.

    Attributes:
        counts: How many of each of `KINDS`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = LogLimit(clock)
        self.counts: dict[str, int] = dict.fromkeys(KINDS, 0)

    def skip(self, kind: str, reason: str) -> None:
        """Count one of `KINDS`; `reason` is for the log and must quote nothing that was read."""
        self.counts[kind] += 1
        if self._limit.due(kind) is not None:
            log.warning("store.unreadable", what=kind, reason=reason, skipped=self.counts[kind])

"""How often a line is written about what others cause: at most once a minute of each kind.

Whoever can cause a line without a key, or with every request, could fill the log and its store with it. The count of what happened is a
metric's; a line says how many of its kind were left out since the one before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

EVERY_SECONDS: Final = 60.0
"""Soon enough for whoever looks, and 1,440 lines a day of each kind whatever happens."""


class LogLimit:
    """Counts what is left out. For one event loop.

    Args:
        clock: Seconds; never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._written: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def due(self, kind: str) -> int | None:
        """How many of a kind were left out since its last line if there may be one now, else None: this one is left out. Does not wait.

        Kinds are kept for the life of the process: they are ours, and no client may make one up.
        """
        now = self._clock()
        if now - self._written.get(kind, -EVERY_SECONDS) < EVERY_SECONDS:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return None
        self._written[kind] = now
        return self._left_out.pop(kind, 0)

"""Whether several principals share this process: only then is a part of each bound kept from whoever holds most."""

from __future__ import annotations

from collections.abc import Callable
from math import inf


class Tenants:
    """Remembers when a second principal was seen.

    Args:
        configured: Gives how many principals have a key.
        seen_seconds: How long a principal that was seen counts (`tenants.seen_seconds`).
        clock: Monotonic, in seconds.
    """

    __slots__ = ("_clock", "_configured", "_last", "_others_seen", "_seen_seconds")

    def __init__(self, configured: Callable[[], int], seen_seconds: float, clock: Callable[[], float]) -> None:
        self._configured = configured
        self._seen_seconds = seen_seconds
        self._clock = clock
        self._last: str | None = None
        self._others_seen = -inf

    def saw(self, name: str) -> None:
        """Take note of whose request is served; called for each, so all that it does for the same one again is one comparison."""
        if name is not self._last:
            self._note(name)

    @property
    def several(self) -> bool:
        """Whether a second principal has a key, or was seen lately."""
        return self._configured() > 1 or self._clock() - self._others_seen < self._seen_seconds

    def _note(self, name: str) -> None:
        if self._last is not None and name != self._last:
            self._others_seen = self._clock()
        self._last = name

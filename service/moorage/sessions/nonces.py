"""The nonces that a relay door has seen: a token serves once.

Two generations by time: each nonce is remembered for at least the life of its token and at most twice as long, and forgetting costs one
assignment. When a generation is full, what comes next is refused and not remembered at the cost of another: forgetting early would let an
earlier token be replayed (which is why this is no memo), and so many do not come in one life from replicas that share this process' work.
"""

from __future__ import annotations

from typing import Final

from moorage.sessions.hop import LIFE_SECONDS, Refusal

MOST: Final = 131_072
"""Nonces of one generation: 3,276 relayed requests a second, more than a process serves; about 14 MB."""


class Nonces:
    """Remembers for `life_seconds`, at most `most` in that time."""

    __slots__ = ("_began", "_life", "_most", "_newer", "_older")

    def __init__(self, *, life_seconds: float = LIFE_SECONDS, most: int = MOST) -> None:
        self._life = life_seconds
        self._most = most
        self._newer: set[bytes] = set()
        self._older: set[bytes] = set()
        self._began = 0.0

    def claim(self, nonce: bytes, now: float) -> Refusal | None:
        """Take a nonce for its one use, at a time of a clock that never goes back (seconds); None when that was possible."""
        if now - self._began >= self._life:
            self._older = self._newer if now - self._began < 2 * self._life else set()
            self._newer, self._began = set(), now
        if nonce in self._newer or nonce in self._older:
            return Refusal.REPLAYED
        if len(self._newer) >= self._most:
            return Refusal.FULL
        self._newer.add(nonce)
        return None

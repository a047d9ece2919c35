"""A bound that keeps a reserve: one principal may fill all of it while it is alone, and all but the reserve once there are others.

A reserve and not a fixed share for each, because most deployments have one busy principal, and a bound that it can never use is capacity
that was paid for and refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from moorage.limits.tenants import Tenants

Denied = Literal["full", "share"]
"""`full`: nobody gets any more. `share`: this principal holds all that one may hold."""


class Room:
    """Judges whether something more fits in.

    Args:
        most: The bound, in whatever is counted.
        reserve: Part of it, from 0 to below 1, that one principal cannot hold once there are others (`tenants.reserve`).
        tenants: Tells whether there are.

    Attributes:
        free: Up to here nobody has to be judged.
    """

    __slots__ = ("_most", "_tenants", "free")

    def __init__(self, most: int, reserve: float, tenants: Tenants) -> None:
        self._most = most
        self._tenants = tenants
        self.free = max(1, most - ceil(most * reserve))

    def denies(self, total: int, held: Callable[[], int], more: int = 1) -> Denied | None:
        """Judge `more` on top of `total`; `held` gives what the principal holds of it, and is asked only where that matters."""
        if total + more <= self.free:
            return None
        if total + more > self._most:
            return "full"
        return "share" if held() + more > self.free and self._tenants.several else None


class Places:
    """A room whose holders are counted here, by principal."""

    __slots__ = ("_held", "_room", "total")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held: Counter[str] = Counter()
        self.total = 0

    def denies(self, name: str) -> Denied | None:
        """Judge one more of this principal's."""
        return self._room.denies(self.total, lambda: self._held[name])

    def enter(self, name: str) -> None:
        """Count one in."""
        self.total += 1
        self._held[name] += 1

    def leave(self, name: str) -> None:
        """Count it out; who holds nothing is forgotten."""
        self.total -= 1
        self._held[name] -= 1
        if not self._held[name]:
            del self._held[name]

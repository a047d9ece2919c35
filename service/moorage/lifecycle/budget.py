"""How the seconds that a process has for its end are shared out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from moorage.settings import DrainSettings

_MOST_FLUSH_SECONDS: Final = 3.0
_MOST_AFTER_DRAIN_SECONDS: Final = 1.5
"""Between the drain's steps and the flush: for connections that outlive the drain, the admin port and the lifespan's shutdown."""
_MOST_CONNECTIONS_SECONDS: Final = 1.0
_MOST_LAST_CALLS_SECONDS: Final = 3.0
_MOST_CANCELLING_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Budget:
    """How the seconds between SIGTERM and exit (`drain.budget_seconds`) are shared out.

    Attributes:
        serving: For the steps of the drain.
        finishing: Of these, for calls to finish by themselves.
        last_calls: Of the latter, the last ones, in which no call begins any more.
        cancelling: Of these, for calls that were interrupted.
        connections: For connections that outlive the drain. What is then left of the whole is for the server's own steps.
        flushing: For telemetry, at the end.
    """

    serving: float
    finishing: float
    last_calls: float
    cancelling: float
    connections: float
    flushing: float

    @classmethod
    def of(cls, drain: DrainSettings) -> Budget:
        """Share out; a small budget keeps the proportions of a large one."""
        whole = drain.budget_seconds
        flushing = min(_MOST_FLUSH_SECONDS, 0.15 * whole)
        serving = whole - flushing - min(_MOST_AFTER_DRAIN_SECONDS, 0.25 * whole)
        cancelling = min(_MOST_CANCELLING_SECONDS, 0.1 * whole)
        connections = min(_MOST_CONNECTIONS_SECONDS, 0.1 * whole)
        finishing = max(0.0, serving - drain.settle_seconds - cancelling)
        return cls(serving, finishing, min(_MOST_LAST_CALLS_SECONDS, 0.25 * finishing), cancelling, connections, flushing)

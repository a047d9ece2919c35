"""The drain engine: named steps in a given order, inside one budget.

Owns the order, the clock and the account of what happened. It promises that every step is started, that no step can
hold up the end beyond the budget (not even one that ignores its cancellation), and that a step which fails or is late
never stops the next. What the steps do, and which there are, is for the app to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from moorage.lifecycle.supervised import contained

_CANCEL_GRACE_SECONDS = 0.25  # for the clean-up of a step that was cut short; after that it is left behind
_HURRIED_SECONDS = 0.5  # for each step that is left when the drain itself is cut short


class EventLog(Protocol):
    """What the engine needs of a structured logger."""

    def info(self, event: str, /, **facts: object) -> object:
        """Record that something happened as intended."""
        ...

    def warning(self, event: str, /, **facts: object) -> object:
        """Record that something did not."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do in a drain; `budget` (seconds) bounds it further than what is left of the whole."""

    name: str
    run: Callable[[], Awaitable[None]]
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended. `late` means that its time was up first."""

    name: str
    result: Literal["done", "late", "failed"]
    seconds: float
    error: BaseException | None = None


async def run_drain(steps: Sequence[Step], budget_seconds: float, log: EventLog) -> list[Outcome]:
    """Run every step in order and say how each ended.

    A step that finds nothing left of the budget still runs as far as its first wait, so that what only sets a flag or
    closes a handle happens in any case. Cancelling the drain cuts it short: the running step is cancelled, those that are
    left have a moment each, and only then is the drain cancelled.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + budget_seconds
    outcomes: list[Outcome] = []
    hurried: asyncio.CancelledError | None = None
    for step in steps:
        left = max(0.0, deadline - clock()) if hurried is None else _HURRIED_SECONDS
        begun = clock()
        try:
            outcome = await _run_step(step, left if step.budget is None else min(left, step.budget))
        except asyncio.CancelledError as wish:
            if hurried is not None:
                raise
            hurried = wish
            outcome = Outcome(step.name, "late", clock() - begun)
        _report(outcome, log)
        outcomes.append(outcome)
    if hurried is not None:
        raise hurried
    return outcomes


async def _run_step(step: Step, limit: float) -> Outcome:
    clock = asyncio.get_running_loop().time
    begun = clock()
    task = contained("drain-step", step.run)
    try:
        await asyncio.wait({task}, timeout=limit)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_GRACE_SECONDS)
            return Outcome(step.name, "late", clock() - begun)
    finally:
        task.cancel()  # has an effect only when the drain itself is cancelled
    if task.cancelled():
        return Outcome(step.name, "failed", clock() - begun, asyncio.CancelledError())
    error = task.exception()
    return Outcome(step.name, "done" if error is None else "failed", clock() - begun, error)


def _report(outcome: Outcome, log: EventLog) -> None:
    seconds = round(outcome.seconds, 3)
    if outcome.result == "done":
        log.info("drain.step", step=outcome.name, result=outcome.result, seconds=seconds)
    else:
        log.warning("drain.step", step=outcome.name, result=outcome.result, seconds=seconds)

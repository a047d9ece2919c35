"""Background work: the only two ways to start it, and the account of its faults.

`contained` runs a piece of work whose fault ends what it was started for, and nothing else. `restarted` runs work that has to go on as
long as the process serves: after a fault it runs again, at once and then after longer and longer pauses. Every fault is counted by the
task's name, from a closed set, and logged once with its traceback; what was restarted lately is a note in the detail of readiness. Promises
that no exception of such work, `SystemExit` and `KeyboardInterrupt` among them, leaves its task (asyncio would end the loop's run with
them), that a task is referenced for as long as it runs (the loop keeps weak references only), and that a `Scope` which is left has
cancelled what it started. `scripts/lint_tasks.py` refuses every other start of a task.

Source: docs/decisions/2026-11-25-supervision.md
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Final, Literal, Self, TypeVar, get_args

import structlog

TaskName = Literal[
    "answer-stream",
    "api-keys",
    "call-ping",
    "call-ticker",
    "call-unended",
    "call-watch",
    "client-watch",
    "drain",
    "drain-step",
    "early-open",
    "event",
    "loop",
    "loop-watch",
    "notices",
    "notices-missed",
    "orphan",
    "relay-watch",
    "session-announce",
    "session-claim",
    "session-hand-over",
    "session-tend",
    "sessions-tend",
    "side-server",
    "store-beat",
    "store-bus",
    "store-policy",
    "threads",
]
"""Every name that background work has. It is a label of a metric, so the set is closed. `loop` is what asyncio reports: callbacks that
raised, and tasks of the team's code whose exception nobody took."""

FIRST_PAUSE_SECONDS: Final = 0.1
MOST_PAUSE_SECONDS: Final = 2.0
"""Longest pause before work runs again. An owner trusts its lease (`sessions.lease_seconds`, 5 s by default) for 0.8 of it and
refreshes it five times in it: a heartbeat that fails when a fifth has passed is back after at most three, before the sessions are lost."""

GOOD_RUN_SECONDS: Final = 60.0
"""After a run of this length a fault is taken for a new one: the pauses begin anew, and its note in readiness is gone."""

_LAST_SECONDS: Final = 5.0
"""How long a scope that is left waits for work that it has cancelled."""

T = TypeVar("T")

log = structlog.get_logger("moorage.lifecycle")


class BackgroundFaultError(Exception):
    """What awaiting a task raises whose work raised something that would have left the event loop, or was cancelled by nobody."""


class Faults:
    """How often background work has failed, by the name of its task. One account a process."""

    def __init__(self) -> None:
        self.counts: Counter[TaskName] = Counter(dict.fromkeys(get_args(TaskName), 0))
        self._latest: dict[TaskName, tuple[float, str]] = {}

    def note(self, name: TaskName, error: BaseException, *, restarts: bool = False) -> None:
        """Count and log a fault. `restarts` says that the work runs again, and puts the fault into the detail of readiness."""
        self.counts[name] += 1
        if restarts:
            self._latest[name] = monotonic(), type(error).__name__
        log.error("background.failed", task=name, effect="it runs again" if restarts else "what it was for ends", exc_info=error)

    def restarted_lately(self) -> str | None:
        """What readiness tells: which work failed in the last minute and runs again; None when none did."""
        since = monotonic() - GOOD_RUN_SECONDS
        told = [f"{name} failed ({kind}, {self.counts[name]} in all)" for name, (at, kind) in self._latest.items() if at > since]
        return f"{', '.join(told)}: started again; see the log" if told else None


FAULTS: Final = Faults()
_running: Final = set[asyncio.Task[object]]()


def contained(
    name: TaskName,
    work: Callable[[], Awaitable[T]],
    *,
    expected: tuple[type[Exception], ...] = (),
    on_fault: Callable[[], object] | None = None,
) -> asyncio.Task[T]:
    """Run work in a task whose fault ends at most what it was started for. Does not wait.

    Args:
        name: Of the task, for log and metric.
        work: What to do, once.
        expected: Exceptions that are a result: whoever awaits the task gets them, and they are neither counted nor logged.
        on_fault: Ends what the work was for; called on the loop after a fault was counted, not when the task is cancelled.

    Returns:
        The task. Awaiting it raises the work's exception, or `BackgroundFaultError` in place of one that is no `Exception`; nobody has to.
    """
    task = asyncio.create_task(_contain(name, work), name=name)
    _running.add(task)
    task.add_done_callback(partial(_ended, name, expected, on_fault))
    return task


def _ended(
    name: TaskName, expected: tuple[type[Exception], ...], on_fault: Callable[[], object] | None, task: asyncio.Task[object]
) -> None:
    _running.discard(task)
    error = None if task.cancelled() else task.exception()
    if error is None or (isinstance(error, expected) and not isinstance(error, BackgroundFaultError)):
        return
    FAULTS.note(name, error.__cause__ or error if isinstance(error, BackgroundFaultError) else error)
    if on_fault is not None:
        on_fault()


async def _contain(name: TaskName, work: Callable[[], Awaitable[T]]) -> T:
    try:
        return await work()
    except BaseException as error:
        if isinstance(error, Exception) or is_end_of_task(error):
            raise
        raise BackgroundFaultError(f"{name} failed") from error


SAFE_CODE: Final = _contain.__code__
"""Of the coroutine that `contained` work runs in; nothing leaves it that would end the loop's run."""


def is_end_of_task(error: BaseException) -> bool:
    """Whether an exception ends the running task from outside: it was cancelled, or its coroutine is being closed.

    A `CancelledError` of a task that nobody has cancelled came from something that it awaited: a fault of the work like any other. To be
    asked in the frame that has caught the exception.
    """
    if isinstance(error, GeneratorExit):  # from outside, it was thrown into the very frame that handles it
        return error.__traceback__ is None or error.__traceback__.tb_next is None
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return False


def leave_cancelled_behind() -> None:
    """Let the process end without the tasks that go on though they were cancelled. Does not wait.

    `asyncio.run` cancels what is left at its end and waits for it, without a bound: a task that catches its cancellation and goes on
    would keep the process. What the loop's list has no more is not waited for.
    """
    for task in asyncio.all_tasks():
        if task.cancelling() and task is not asyncio.current_task():
            asyncio._unregister_task(task)  # noqa: SLF001 - documented: "Extending asyncio"


class Scope:
    """Starts background work that ends when the context is left, at the latest."""

    def __init__(self) -> None:
        self._tasks = set[asyncio.Task[object]]()

    async def __aenter__(self) -> Self:
        """Nothing runs yet."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Cancel what still runs, and wait for it (at most five seconds: work that resists is left behind)."""
        await self.cancel()

    async def cancel(self) -> None:
        """Cancel what runs, and wait until it has ended (at most five seconds: work that resists is left behind)."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=_LAST_SECONDS)
            if left:
                log.warning("background.left", tasks=sorted(task.get_name() for task in left))

    def contained(
        self,
        name: TaskName,
        work: Callable[[], Awaitable[T]],
        *,
        expected: tuple[type[Exception], ...] = (),
        on_fault: Callable[[], object] | None = None,
    ) -> asyncio.Task[T]:
        """See the function `contained`."""
        return self._held(contained(name, work, expected=expected, on_fault=on_fault))

    def restarted(self, name: TaskName, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run work until it returns or the scope is left; after a fault it runs again. Does not wait.

        The first pause is a tenth of a second, each next one twice as long, up to two seconds; after a run of a minute they begin anew.

        Args:
            name: Of the task, for log, metric and readiness.
            work: What to do; called anew for every run.
        """
        return self._held(contained(name, lambda: _again_and_again(name, work)))

    def _held(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _again_and_again(name: TaskName, work: Callable[[], Awaitable[None]]) -> None:
    pause = FIRST_PAUSE_SECONDS
    while True:
        begun = monotonic()
        try:
            return await work()
        except BaseException as error:
            if is_end_of_task(error):
                raise
            FAULTS.note(name, error, restarts=True)
        if monotonic() - begun >= GOOD_RUN_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await asyncio.sleep(pause)
        pause = min(2 * pause, MOST_PAUSE_SECONDS)

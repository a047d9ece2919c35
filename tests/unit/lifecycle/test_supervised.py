"""Background work: its fault ends what it was for, or it runs again; nothing of it leaves its task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import anyio
import pytest

from moorage.lifecycle import supervised
from moorage.lifecycle.supervised import FAULTS, BackgroundFaultError, Scope, TaskName, contained
from tests.logged import logged

pytestmark = pytest.mark.anyio

NAME: TaskName = "event"

Raises = Callable[[], BaseException]
RAISED: list[Raises] = [
    lambda: RuntimeError("broken"),
    lambda: RecursionError("too deep"),
    lambda: MemoryError(),
    lambda: SystemExit(3),
    lambda: KeyboardInterrupt(),
    lambda: GeneratorExit(),
    lambda: asyncio.CancelledError(),
    lambda: BaseExceptionGroup("several", [SystemExit(3), ValueError("broken")]),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def counted() -> Iterator[Callable[[], int]]:
    before = FAULTS.counts[NAME]
    yield lambda: FAULTS.counts[NAME] - before
    FAULTS._latest.clear()


@pytest.mark.parametrize("make", RAISED, ids=lambda make: type(make()).__name__)
async def test_a_fault_of_contained_work_is_counted_logged_once_and_ends_what_it_was_for(make: Raises, counted: Callable[[], int]) -> None:
    ended = asyncio.Event()

    async def work() -> None:
        raise make()

    with logged() as logs:
        task = contained(NAME, work, on_fault=ended.set)
        with anyio.fail_after(5):
            await ended.wait()
        with pytest.raises(Exception):  # noqa: B017 - any, as long as it is an Exception
            await task
    assert counted() == 1
    assert [(entry["event"], entry["task"]) for entry in logs] == [("background.failed", NAME)]
    assert type(logs[0]["exc_info"]) is type(make())


@pytest.mark.parametrize("make", RAISED, ids=lambda make: type(make()).__name__)
async def test_restarted_work_runs_again_after_any_fault_and_readiness_tells(make: Raises, counted: Callable[[], int]) -> None:
    runs: list[int] = []
    again = asyncio.Event()

    async def work() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise make()
        again.set()
        await asyncio.Event().wait()

    async with Scope() as scope:
        scope.restarted(NAME, work)
        with anyio.fail_after(5):
            await again.wait()
        assert counted() == 1
        assert f"{NAME} failed ({type(make()).__name__}" in (FAULTS.restarted_lately() or "")


async def test_what_is_expected_is_a_result_and_no_fault(counted: Callable[[], int]) -> None:
    async def refuses() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await contained(NAME, refuses, expected=(LookupError,))
    assert counted() == 0


async def test_an_exit_is_a_fault_even_where_every_exception_is_expected(counted: Callable[[], int]) -> None:
    async def leaves() -> None:
        raise SystemExit(3)

    with pytest.raises(BackgroundFaultError):
        await contained(NAME, leaves, expected=(Exception,))
    assert counted() == 1


async def test_a_cancelled_task_is_no_fault(counted: Callable[[], int]) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = contained(NAME, work)
    await begun.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert counted() == 0


async def test_a_scope_that_is_left_has_cancelled_both_kinds() -> None:
    async with Scope() as scope:
        tasks = [scope.contained(NAME, asyncio.Event().wait), scope.restarted(NAME, _for_ever)]
        await asyncio.sleep(0)
    assert all(task.cancelled() for task in tasks)


async def test_work_that_resists_its_cancellation_is_left_behind_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "_LAST_SECONDS", 0)
    release = asyncio.Event()

    async def resists() -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    with logged() as logs:
        async with Scope() as scope:
            task = scope.contained(NAME, resists)
            await asyncio.sleep(0)
    release.set()  # before anything that may fail: the end of the loop waits for this task
    assert ("background.left", [NAME]) in [(entry["event"], entry.get("tasks")) for entry in logs]
    await task


async def test_pauses_grow_to_a_bound_and_begin_anew_after_a_long_good_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    now = [0.0]
    good = [0.0] * 8 + [supervised.GOOD_RUN_SECONDS, 0.0]

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def work() -> None:
        if not good:
            return
        now[0] += good.pop(0)
        raise RuntimeError

    monkeypatch.setattr(supervised, "monotonic", lambda: now[0])
    monkeypatch.setattr(asyncio, "sleep", pause)
    await supervised._again_and_again(NAME, work)
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 0.1, 0.2])


async def test_a_restarted_task_that_ran_well_for_a_minute_is_no_note_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(supervised, "monotonic", lambda: now[0])
    FAULTS.note(NAME, RuntimeError(), restarts=True)
    assert FAULTS.restarted_lately() is not None
    now[0] += supervised.GOOD_RUN_SECONDS
    assert FAULTS.restarted_lately() is None


async def _for_ever() -> None:
    await asyncio.Event().wait()

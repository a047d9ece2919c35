"""A drain runs every step in order, inside its budget, whatever a step does."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from moorage.lifecycle.drain import Step, run_drain

pytestmark = pytest.mark.anyio


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, object]]] = []

    def info(self, event: str, /, **facts: object) -> None:
        self.events.append(("info", event, facts))

    def warning(self, event: str, /, **facts: object) -> None:
        self.events.append(("warning", event, facts))


@pytest.fixture
def log() -> Log:
    return Log()


def noted(done: list[str], name: str) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        done.append(name)

    return run


async def fails() -> None:
    raise RuntimeError("the step's own trouble")


async def waits_for_ever() -> None:
    await asyncio.Event().wait()


async def test_steps_run_in_the_given_order_and_each_is_logged(log: Log) -> None:
    done: list[str] = []
    outcomes = await run_drain([Step(name, noted(done, name)) for name in ("refuse", "close", "flush")], 5, log)
    assert done == ["refuse", "close", "flush"]
    assert [(o.name, o.result) for o in outcomes] == [("refuse", "done"), ("close", "done"), ("flush", "done")]
    assert [(level, event, facts["step"]) for level, event, facts in log.events] == [
        ("info", "drain.step", "refuse"),
        ("info", "drain.step", "close"),
        ("info", "drain.step", "flush"),
    ]


async def test_a_failing_step_does_not_stop_the_next_and_its_error_is_kept(log: Log) -> None:
    done: list[str] = []
    outcomes = await run_drain([Step("close", fails), Step("flush", noted(done, "flush"))], 5, log)
    assert done == ["flush"]
    assert outcomes[0].result == "failed"
    assert isinstance(outcomes[0].error, RuntimeError)
    assert log.events[0][0] == "warning"


async def test_a_step_that_cannot_even_be_called_does_not_stop_the_next(log: Log) -> None:
    def broken() -> Awaitable[None]:
        raise TypeError("not a step")

    done: list[str] = []
    outcomes = await run_drain([Step("broken", broken), Step("flush", noted(done, "flush"))], 5, log)
    assert [o.result for o in outcomes] == ["failed", "done"]


async def test_a_step_is_cut_at_its_own_budget_and_the_rest_goes_on(log: Log) -> None:
    done: list[str] = []
    with anyio.fail_after(5):
        outcomes = await run_drain([Step("calls", waits_for_ever, budget=0.01), Step("flush", noted(done, "flush"))], 60, log)
    assert [o.result for o in outcomes] == ["late", "done"]
    assert done == ["flush"]


async def test_a_step_with_nothing_left_of_the_budget_runs_as_far_as_its_first_wait(log: Log) -> None:
    reached: list[str] = []

    async def sets_a_flag_then_waits() -> None:
        reached.append("flag")
        await asyncio.Event().wait()
        reached.append("never")

    with anyio.fail_after(5):
        outcomes = await run_drain([Step("calls", waits_for_ever), Step("flag", sets_a_flag_then_waits)], 0.01, log)
    assert [o.result for o in outcomes] == ["late", "late"]
    assert reached == ["flag"]


async def test_a_step_that_ignores_its_cancellation_cannot_hold_up_the_drain(log: Log) -> None:
    let_go = asyncio.Event()
    ended = asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        ended.set()
        raise RuntimeError("nobody listens any more")

    done: list[str] = []
    with anyio.fail_after(5):
        outcomes = await run_drain([Step("stubborn", stubborn, budget=0.01), Step("flush", noted(done, "flush"))], 60, log)
        assert [o.result for o in outcomes] == ["late", "done"]
        let_go.set()
        await ended.wait()


async def test_a_cancelled_drain_cancels_the_step_that_is_running(log: Log) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def step() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    drain = asyncio.create_task(run_drain([Step("calls", step)], 60, log))
    with anyio.fail_after(5):
        await started.wait()
        drain.cancel()
        await cancelled.wait()
        with pytest.raises(asyncio.CancelledError):
            await drain


async def test_a_drain_that_is_cut_short_still_runs_what_is_left(log: Log) -> None:
    started, done = asyncio.Event(), list[str]()

    async def wait_for_calls() -> None:
        started.set()
        await asyncio.Event().wait()

    steps = [Step("wait", wait_for_calls), Step("cancel-calls", noted(done, "cancel-calls")), Step("flush", noted(done, "flush"))]
    drain = asyncio.create_task(run_drain(steps, 60, log))
    with anyio.fail_after(5):
        await started.wait()
        drain.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drain
    assert done == ["cancel-calls", "flush"]
    assert [facts["result"] for _, _, facts in log.events] == ["late", "done", "done"]


async def test_a_drain_that_is_cut_short_twice_ends_there(log: Log) -> None:
    reached: list[asyncio.Event] = [asyncio.Event(), asyncio.Event()]
    done: list[str] = []

    def waits(number: int) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            reached[number].set()
            await asyncio.Event().wait()

        return run

    drain = asyncio.create_task(run_drain([Step("a", waits(0)), Step("b", waits(1)), Step("c", noted(done, "c"))], 60, log))
    with anyio.fail_after(5):
        for event in reached:
            await event.wait()
            drain.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drain
    assert done == []


async def test_a_step_that_cancels_itself_counts_as_failed(log: Log) -> None:
    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    assert [o.result for o in await run_drain([Step("odd", cancels_itself)], 5, log)] == ["failed"]

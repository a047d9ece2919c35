"""The loop that a worker serves on ends with what it was started for, and with nothing else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import pytest

from moorage.runtime.loop import ServingLoop
from tests.events import written


def _interrupts() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("exits", [sys.exit, _interrupts])
def test_callbacks_that_exit_are_logged_and_the_loop_goes_on(exits: Callable[[], object]) -> None:
    async def main() -> list[str]:
        loop, seen = asyncio.get_running_loop(), list[str]()
        for schedule in (loop.call_soon, lambda call: loop.call_later(0.001, call), loop.call_soon_threadsafe):
            after = loop.create_future()
            schedule(exits)
            schedule(lambda future=after: future.set_result(None))
            await after
            seen.append("after")
        return seen

    with written() as logs, asyncio.Runner(loop_factory=ServingLoop) as runner:
        assert runner.run(main()) == ["after"] * 3
    assert [(entry["event"], entry["task"]) for entry in logs] == [("background.failed", "loop")] * 3


def test_what_the_loop_was_started_for_may_exit() -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        sys.exit(3)

    with pytest.raises(SystemExit) as ended, asyncio.Runner(loop_factory=ServingLoop) as runner:
        runner.run(main())
    assert ended.value.code == 3


def test_a_loop_that_was_started_for_nothing_ends_as_every_loop() -> None:
    loop = ServingLoop()
    loop.call_soon(sys.exit, 3)
    with pytest.raises(SystemExit):
        loop.run_forever()
    loop.close()

"""The default executor of the loop: what it runs is what asyncio's would run, so many at a time, and its end waits for nothing."""

import asyncio
import threading

import anyio
import pytest

from moorage.lifecycle.threads import DaemonExecutor

pytestmark = pytest.mark.anyio


async def test_results_and_exceptions_reach_their_callers() -> None:
    executor, loop = DaemonExecutor(), asyncio.get_running_loop()
    with anyio.fail_after(10):
        assert await asyncio.gather(*(loop.run_in_executor(executor, pow, 2, n) for n in range(100))) == [2**n for n in range(100)]
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(executor, divmod, 1, 0)
    executor.shutdown()


async def test_no_more_run_at_a_time_than_there_are_threads_and_a_shutdown_waits_for_none() -> None:
    executor, loop = DaemonExecutor(), asyncio.get_running_loop()
    most, running, go_on = executor._most, threading.Semaphore(0), threading.Event()

    def hang() -> None:
        running.release()
        assert go_on.wait(20)

    hung = [loop.run_in_executor(executor, hang) for _ in range(most + 5)]
    for _ in range(most):
        assert await asyncio.to_thread(running.acquire, timeout=10)
    assert not running.acquire(blocking=False)
    hung.pop().cancel()
    await asyncio.sleep(0)  # the executor hears of it with the next turn
    executor.shutdown(wait=True)
    go_on.set()
    with anyio.fail_after(10):
        await asyncio.gather(*hung)
    assert sum(running.acquire(blocking=False) for _ in range(10)) == 4  # those that had waited, but the one that was cancelled

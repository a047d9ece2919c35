"""The phase of a process only moves forward, whoever asks for it and from where."""

import asyncio
import signal
import threading

import anyio
import pytest

from moorage.lifecycle.phase import Lifecycle, Phase

pytestmark = pytest.mark.anyio


async def test_a_process_goes_from_starting_over_ready_and_draining_to_stopped() -> None:
    lifecycle = Lifecycle()
    seen = [lifecycle.phase]
    lifecycle.ready()
    seen.append(lifecycle.phase)
    lifecycle.begin_drain()
    seen.append(lifecycle.phase)
    lifecycle.stopped()
    seen.append(lifecycle.phase)
    assert seen == [Phase.STARTING, Phase.READY, Phase.DRAINING, Phase.STOPPED]


async def test_a_drain_that_began_during_the_start_is_not_undone_by_ready() -> None:
    lifecycle = Lifecycle()
    lifecycle.begin_drain()
    lifecycle.ready()
    assert lifecycle.phase is Phase.DRAINING
    assert lifecycle.draining


async def test_only_one_of_many_threads_begins_the_drain() -> None:
    lifecycle = Lifecycle()
    start = threading.Barrier(16)
    won: list[bool] = []

    def begin() -> None:
        start.wait(5)
        won.append(lifecycle.begin_drain())

    threads = [threading.Thread(target=begin) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sorted(won) == [False] * 15 + [True]


async def test_waiters_are_woken_by_a_drain_that_begins_in_another_thread() -> None:
    lifecycle = Lifecycle()
    with anyio.fail_after(5):
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(lifecycle.wait_draining())
            await asyncio.sleep(0)
            await asyncio.to_thread(lifecycle.begin_drain)


async def test_a_waiter_is_woken_by_a_drain_that_begins_in_a_signal_handler() -> None:
    lifecycle = Lifecycle()
    previous = signal.signal(signal.SIGUSR2, lambda *_: lifecycle.begin_drain() and None)
    try:
        with anyio.fail_after(5):
            async with asyncio.TaskGroup() as group:
                group.create_task(lifecycle.wait_draining())
                await asyncio.sleep(0)
                signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, previous)


async def test_who_waits_after_the_drain_began_does_not_wait() -> None:
    lifecycle = Lifecycle()
    lifecycle.begin_drain()
    with anyio.fail_after(5):
        await lifecycle.wait_draining()


async def test_a_waiter_that_gave_up_is_not_in_the_way() -> None:
    lifecycle = Lifecycle()
    with anyio.move_on_after(0):
        await lifecycle.wait_draining()
    assert lifecycle.begin_drain()

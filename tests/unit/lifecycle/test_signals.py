"""SIGTERM drains first, and only then reaches the server that was listening for it."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
import uvicorn

from moorage.lifecycle import signals
from moorage.lifecycle.signals import chain_sigterm

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def restored_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def heard() -> list[int]:
    """What the handler that was there first has heard."""
    return []


@pytest.fixture
def first_handler(heard: list[int]) -> Callable[..., None]:
    def handler(number: int, _frame: Any) -> None:
        heard.append(number)

    for number in signals.SIGNALS:
        signal.signal(number, handler)
    return handler


async def never() -> None:
    await asyncio.Event().wait()


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("number", signals.SIGNALS)
async def test_the_earlier_handler_hears_the_signal_only_when_the_drain_is_done(
    number: signal.Signals, heard: list[int], first_handler: object
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def drain() -> None:
        begun.set()
        await go_on.wait()

    with chain_sigterm(drain):
        signal.raise_signal(number)
        with anyio.fail_after(5):
            await begun.wait()
        assert heard == []
        go_on.set()
        await until(lambda: heard)
        assert heard == [number]


async def test_an_echo_of_the_signal_neither_starts_another_drain_nor_cuts_this_one(heard: list[int], first_handler: object) -> None:
    runs: list[str] = []
    go_on = asyncio.Event()

    async def drain() -> None:
        runs.append("begun")
        await go_on.wait()
        runs.append("ended")

    with chain_sigterm(drain):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: runs)
        go_on.set()
        await until(lambda: heard)
    assert runs == ["begun", "ended"]
    assert heard == [signal.SIGINT]


async def test_whoever_has_to_know_at_once_is_told_once_and_before_the_loop_turns(first_handler: object) -> None:
    told: list[str] = []
    with chain_sigterm(never, lambda: told.append("signalled")):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert told == ["signalled"]


async def test_a_second_signal_cuts_the_drain_short(monkeypatch: pytest.MonkeyPatch, heard: list[int], first_handler: object) -> None:
    monkeypatch.setattr(signals, "_ECHO_SECONDS", 0)
    with chain_sigterm(never):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: heard)


async def test_a_drain_that_fails_does_not_keep_the_process_from_ending(heard: list[int], first_handler: object) -> None:
    async def drain() -> None:
        raise RuntimeError("trouble")

    with chain_sigterm(drain):
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: heard)


async def test_uvicorn_is_told_to_exit_and_does_not_raise_the_signal_again() -> None:
    server = uvicorn.Server(uvicorn.Config(app=lambda: None, log_config=None))
    for number in signals.SIGNALS:
        signal.signal(number, server.handle_exit)

    async def drain() -> None:
        assert not server.should_exit

    with chain_sigterm(drain):
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: server.should_exit)
    assert server._captured_signals == []  # what uvicorn raises again after its shutdown
    assert server.config.timeout_graceful_shutdown == 1


async def test_the_chain_survives_a_library_that_wraps_the_handler_of_uvicorn() -> None:
    import sse_starlette.sse as sse  # wraps uvicorn.Server.handle_exit when it is imported

    sse.AppStatus.disable_automatic_graceful_drain()
    try:
        server = uvicorn.Server(uvicorn.Config(app=lambda: None, log_config=None))
        signal.signal(signal.SIGTERM, server.handle_exit)
        drained = asyncio.Event()

        async def drain() -> None:
            drained.set()

        with chain_sigterm(drain):
            signal.raise_signal(signal.SIGTERM)
            await until(lambda: server.should_exit)
        assert drained.is_set()
        assert sse.AppStatus.should_exit is False
    finally:
        sse.AppStatus.enable_automatic_graceful_drain_mode()


async def test_a_limit_that_the_operator_set_for_the_last_connections_stays() -> None:
    server = uvicorn.Server(uvicorn.Config(app=lambda: None, log_config=None, timeout_graceful_shutdown=7))
    signal.signal(signal.SIGTERM, server.handle_exit)

    async def drain() -> None: ...

    with chain_sigterm(drain):
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: server.should_exit)
    assert server.config.timeout_graceful_shutdown == 7


async def test_without_a_signal_the_handlers_are_put_back(first_handler: Callable[..., None]) -> None:
    with chain_sigterm(never):
        assert signal.getsignal(signal.SIGTERM) is not first_handler
    assert [signal.getsignal(number) for number in signals.SIGNALS] == [first_handler, first_handler]


async def test_outside_the_main_thread_nothing_is_touched() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def elsewhere() -> Any:
        with chain_sigterm(never):
            return signal.getsignal(signal.SIGTERM)

    assert await asyncio.to_thread(elsewhere) is before

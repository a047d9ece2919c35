"""Plain functions run in a bounded number of threads; who is given up is answered, and its thread keeps its place until it returns."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.from_thread
import pytest
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import MCPServer

from moorage.lifecycle import threads as lifecycle_threads
from moorage.limits.tenants import Tenants
from moorage.protocol import sdk
from moorage.protocol.refusals import RefusedError
from moorage.protocol.threads import Threads
from moorage.settings import CallSettings

pytestmark = pytest.mark.anyio

seen: ContextVar[str] = ContextVar("seen", default="nothing")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Hanging:
    """Functions that return when they are told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._grown = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._release: dict[str, threading.Event] = {}

    def function(self, name: str) -> Callable[[], str]:
        released = self._release.setdefault(name, threading.Event())

        def run() -> str:
            self._loop.call_soon_threadsafe(self._note, name)
            assert released.wait(20)
            return name

        return run

    def _note(self, name: str) -> None:
        self.begun.append(name)
        self._grown.set()

    def release(self, *names: str) -> None:
        for name in names or tuple(self._release):
            self._release[name].set()

    async def all_begun(self, *names: str) -> None:
        with anyio.fail_after(10):
            while not set(names) <= set(self.begun):
                self._grown.clear()
                await self._grown.wait()


@pytest.fixture
async def hanging(anyio_backend: str) -> AsyncGenerator[Hanging, None]:
    made = Hanging()
    yield made
    made.release()


def threads(most: int, queue: int, principals: int = 1, reserve: float = 0.25) -> Threads:
    return Threads(CallSettings(threads=most, thread_queue=queue), reserve, Tenants(lambda: principals, 1, lambda: 0.0))


def begin(pool: Threads, function: Callable[[], Any], principal: str | None = None) -> asyncio.Task[Any]:
    if principal is not None:
        auth_context_var.set(AuthenticatedUser(AccessToken(token="", client_id=principal, scopes=[])))
    return asyncio.create_task(pool.run_sync(function))


async def state(pool: Threads, **wanted: int) -> None:
    """Wait until the threads are in this state."""
    with anyio.fail_after(10):
        while pool.states() != {"running": 0, "waiting": 0, "abandoned": 0} | wanted:
            await asyncio.sleep(0.001)


async def test_who_finds_every_thread_busy_waits_and_one_more_is_refused_before_it_ran(hanging: Hanging) -> None:
    pool, ran = threads(2, 1), list[str]()
    calls = [begin(pool, hanging.function(name)) for name in ("a", "b", "c")]
    await hanging.all_begun("a", "b")
    await state(pool, running=2, waiting=1)
    with pytest.raises(RefusedError) as refused:
        await pool.run_sync(partial(ran.append, "ran"))
    assert (refused.value.refusal.reason, refused.value.refusal.status, ran) == ("threads_limit", 503, [])
    assert set(hanging.begun) == {"a", "b"}
    hanging.release("a")
    await hanging.all_begun("c")
    hanging.release()
    assert await asyncio.gather(*calls) == ["a", "b", "c"]
    assert pool.states() == {"running": 0, "waiting": 0, "abandoned": 0}


async def test_who_is_cancelled_while_it_waits_never_runs_and_leaves_its_place(hanging: Hanging) -> None:
    pool = threads(1, 1)
    first, second = begin(pool, hanging.function("a")), begin(pool, hanging.function("b"))
    await hanging.all_begun("a")
    second.cancel()
    await asyncio.wait({second})
    third = begin(pool, hanging.function("c"))
    await state(pool, running=1, waiting=1)
    hanging.release()
    assert (await first, await third) == ("a", "c")
    assert hanging.begun == ["a", "c"]


async def test_who_is_cancelled_while_it_runs_is_answered_at_once_and_its_thread_keeps_its_place(hanging: Hanging) -> None:
    pool = threads(2, 0)
    calls = [begin(pool, hanging.function(name)) for name in ("a", "b")]
    await hanging.all_begun("a", "b")
    calls[0].cancel()
    await asyncio.wait({calls[0]})
    assert pool.states() == {"running": 1, "waiting": 0, "abandoned": 1}
    with pytest.raises(RefusedError):
        await pool.run_sync(int)
    assert pool.trouble() is None
    hanging.release("a")
    await state(pool, running=1)
    assert await pool.run_sync(int) == 0
    hanging.release("b")
    assert await calls[1] == "b"


async def test_with_every_thread_given_up_all_are_refused_and_who_waits_can_be_until_one_returns(hanging: Hanging) -> None:
    pool = threads(2, 8)
    calls = [begin(pool, hanging.function(name)) for name in ("a", "b", "c")]
    await hanging.all_begun("a", "b")
    for call in calls[:2]:
        call.cancel()
    await asyncio.wait(calls[:2])
    assert pool.trouble() == "all 2 threads (calls.threads) are held by calls that were given up and have not returned"
    assert pool.exhausted_seconds >= 0
    with pytest.raises(RefusedError):
        await pool.run_sync(int)
    pool.refuse_waiting()
    with pytest.raises(RefusedError):
        await calls[2]
    hanging.release("a")
    await state(pool, abandoned=1)
    assert (pool.trouble(), pool.exhausted_seconds) == (None, 0)
    assert await pool.run_sync(int) == 0
    assert set(hanging.begun) == {"a", "b"}


async def test_one_principal_leaves_a_reserve_of_threads_and_of_the_queue_to_others(hanging: Hanging) -> None:
    pool = threads(4, 4, principals=2)
    names = [f"ann{number}" for number in range(6)]
    calls = [begin(pool, hanging.function(name), "ann") for name in names]
    await hanging.all_begun("ann0", "ann1", "ann2")
    await state(pool, running=3, waiting=3)
    with pytest.raises(RefusedError) as refused:
        await begin(pool, hanging.function("ann6"), "ann")
    assert (refused.value.refusal.reason, refused.value.refusal.status) == ("threads_share", 429)
    other = begin(pool, hanging.function("bob"), "bob")
    await hanging.all_begun("bob")  # before three that came earlier
    hanging.release()
    assert await asyncio.gather(*calls, other) == [*names, "bob"]


async def test_a_function_sees_the_callers_context_and_can_come_back_to_its_loop() -> None:
    pool = threads(1, 0)
    seen.set("the caller's")
    loop = asyncio.get_running_loop()

    async def on_loop() -> bool:
        return asyncio.get_running_loop() is loop

    def function() -> tuple[str, bool, bool, str]:
        before = seen.get()
        seen.set("the thread's")
        anyio.from_thread.check_cancelled()
        return before, anyio.from_thread.run(on_loop), anyio.from_thread.run_sync(asyncio.get_running_loop) is loop, anyio.run(own_loop)

    async def own_loop() -> str:
        return "a loop of its own"

    assert await pool.run_sync(function) == ("the caller's", True, True, "a loop of its own")
    assert seen.get() == "the caller's"


async def test_a_function_that_asks_hears_that_it_was_given_up() -> None:
    pool, begun, heard = threads(1, 0), threading.Event(), threading.Event()

    def function() -> None:
        begun.set()
        try:
            while not heard.wait(0.001):
                anyio.from_thread.check_cancelled()
        except BaseException:
            heard.set()
            raise

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.run_sync, function)
            while not begun.is_set():
                await asyncio.sleep(0.001)
            scope.cancel()
    await state(pool)
    assert heard.is_set()


@pytest.mark.parametrize("raised", [ValueError("words"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_whatever_a_function_raises_is_its_callers_and_the_thread_goes_on(raised: BaseException) -> None:
    pool = threads(1, 0)

    def function() -> None:
        raise raised

    with pytest.raises(type(raised)) as seen_by_caller:
        await pool.run_sync(function)
    assert seen_by_caller.value is raised
    assert await pool.run_sync(threading.get_ident) == await pool.run_sync(threading.get_ident)


async def test_a_thread_that_cannot_be_started_is_an_error_of_its_call_and_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = threads(1, 0)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            await pool.run_sync(int)
    assert await pool.run_sync(int) == 0


async def test_threads_end_with_the_service_and_nobody_waits_for_them(hanging: Hanging) -> None:
    before = set(threading.enumerate())
    pool = threads(2, 0)
    async with pool.running():
        await pool.run_sync(int)
        call = begin(pool, hanging.function("a"))
        await hanging.all_begun("a")
        call.cancel()
        await asyncio.wait({call})
    ours = set(threading.enumerate()) - before
    assert all(thread.daemon for thread in ours)
    hanging.release()
    for thread in ours:
        await asyncio.get_running_loop().run_in_executor(None, thread.join, 10)
    assert not any(thread.is_alive() for thread in ours)


def tool_server(noted: list[str]) -> MCPServer[Any]:
    server = MCPServer("plain")

    @server.tool()
    def tool() -> None:
        noted.append(threading.current_thread().name)

    @server.prompt()
    def prompt() -> str:
        noted.append(threading.current_thread().name)
        return "say it"

    @server.resource("plain://resource")
    def resource() -> str:
        noted.append(threading.current_thread().name)
        return "text"

    @server.resource("plain://{name}/template")
    def template(name: str) -> str:
        noted.append(threading.current_thread().name)
        return name

    return server


async def each_kind(server: MCPServer[Any]) -> None:
    await server.call_tool("tool", {})
    await server.get_prompt("prompt")
    await server.read_resource("plain://resource")
    await server.read_resource("plain://a/template")


async def test_every_kind_of_plain_function_runs_in_our_threads_while_the_service_runs() -> None:
    noted: list[str] = []
    server = tool_server(noted)
    async with threads(1, 0).running():
        await each_kind(server)
    assert noted == ["moorage-1"] * 4
    await each_kind(server)
    assert not any(name.startswith("moorage") for name in noted[4:])


@pytest.mark.parametrize("gone", ["sdk", "anyio"])
async def test_with_a_release_that_runs_them_otherwise_they_stay_where_they_are(monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    if gone == "sdk":
        monkeypatch.delattr(sys.modules["mcp.server.mcpserver.prompts.base"], "anyio")
        assert sdk.missing_thread_parts() == ["mcp.server.mcpserver.prompts.base.anyio"]
    else:
        # threads of the tests before still use what is left of it
        monkeypatch.setattr(lifecycle_threads, "_eventloop", SimpleNamespace(threadlocals=lifecycle_threads._eventloop.threadlocals))
        assert lifecycle_threads.missing_parts() == ["anyio.set_current_async_library"]
    noted: list[str] = []
    async with threads(1, 0).running():
        await tool_server(noted).call_tool("tool", {})
    assert len(noted) == 1
    assert not noted[0].startswith("moorage")


def test_this_release_of_the_sdk_and_of_anyio_has_every_part() -> None:
    assert sdk.missing_thread_parts() + lifecycle_threads.missing_parts() == []

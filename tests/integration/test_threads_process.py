"""A server whose plain functions hang: who finds no thread is refused, who is late is answered, a process without threads is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2 as httpx
import pytest

from tests.integration.serving import Legacy, Process, answer, appears, client, modern, probe, request, serving

pytestmark = pytest.mark.anyio

TOOLS: Final = Path(__file__).with_name("hanging_tools.py")
TIMEOUT, CANCELLED, REFUSED = -32001, -32800, -32012

KINDS: Final = ("tools/call", "prompts/get", "resources/read")


def params(kind: str, name: str) -> dict[str, Any]:
    """What calls the function of this kind that hangs until the file NAME is there."""
    if kind == "resources/read":
        return {"uri": f"hanging://{name}"}
    return {"name": "hang" if kind == "tools/call" else "hanging_prompt", "arguments": {"name": name}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def hanging(folder: Path, **settings: str) -> AsyncGenerator[tuple[Process, httpx.AsyncClient], None]:
    """A server with two threads and no queue, and a client."""
    given = {"CALLS__THREADS": "2", "CALLS__THREAD_QUEUE": "0", "plain_HANGING": str(folder), **settings}
    async with serving("moorage", target=TOOLS, **given) as server, client() as http:
        yield server, http


async def post_modern(http: httpx.AsyncClient, server: Process, method: str, given: Mapping[str, Any], number: int = 1) -> httpx.Response:
    body, headers = modern(method, given, number)
    return await http.post(f"{server.url}/mcp", json=body, headers=headers)


async def metric(http: httpx.AsyncClient, server: Process, begin: str) -> float:
    """The value of the series whose text begins with this."""
    text = (await http.get(f"{server.admin}/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith(begin)]
    assert len(lines) == 1, (begin, text)
    return float(lines[0].rpartition(" ")[2])


async def becomes(http: httpx.AsyncClient, server: Process, begin: str, value: float) -> None:
    """Wait until a series has a value: another process has no event to wait on."""
    with anyio.fail_after(10):
        while await metric(http, server, begin) != value:
            await asyncio.sleep(0.02)


def state(name: str) -> str:
    return f'moorage_threads{{moorage_thread_state="{name}"}}'


async def test_with_all_threads_busy_every_kind_is_refused_in_its_eras_way_before_it_ran(tmp_path: Path) -> None:
    async with hanging(tmp_path) as (server, http), AsyncExitStack() as stack:
        session = await Legacy.begin(http, server.url)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        first = tasks.create_task(post_modern(http, server, "tools/call", params("tools/call", "a")))
        second = tasks.create_task(session.post(request("prompts/get", params("prompts/get", "b"), 2)))
        await appears(tmp_path / "a.begun")
        await appears(tmp_path / "b.begun")
        for kind in KINDS:
            refused = await post_modern(http, server, kind, params(kind, "refused"))
            error = answer(refused)["error"]
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert (error["code"], error["data"]) == (REFUSED, {"reason": "threads_limit", "retryAfterSeconds": 1})
            refused = await session.post(request(kind, params(kind, "refused"), 3))
            assert refused.status_code == 200
            assert answer(refused)["error"] == error
        assert not (tmp_path / "refused.begun").exists()
        assert (await post_modern(http, server, "tools/call", {"name": "quick"})).status_code == 200
        assert await metric(http, server, state("running")) == 2
        for status in (200, 503):
            begin = f'moorage_refusals_total{{http_response_status_code="{status}",moorage_refusal_reason="threads_limit"}}'
            assert await metric(http, server, begin) == len(KINDS)
        (tmp_path / "a").touch()
        (tmp_path / "b").touch()
        assert answer(await first)["result"]["content"][0]["text"] == "a is there"
        assert answer(await second)["result"]["messages"][0]["content"]["text"] == "b is there"
        await becomes(http, server, state("running"), 0)
    events = [event for event in server.events() if event.get("reason") == "threads_limit"]
    assert [event["event"] for event in events] == ["mcp.request"] * 2 * len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_late_call_is_answered_at_its_deadline_and_a_process_without_threads_is_replaced(tmp_path: Path, kind: str) -> None:
    settings = {"CALLS__DEADLINE_SECONDS": "0.5", "DRAIN__BUDGET_SECONDS": "5", "DRAIN__SETTLE_SECONDS": "0"}
    async with hanging(tmp_path, **settings) as (server, http):
        session = await Legacy.begin(http, server.url)
        pid = answer(await post_modern(http, server, "tools/call", {"name": "process"}))["result"]["content"][0]["text"]
        late = await asyncio.gather(
            post_modern(http, server, kind, params(kind, "a")),
            session.post(request(kind, params(kind, "b"), 2)),
        )
        assert [answer(response)["error"]["code"] for response in late] == [TIMEOUT, TIMEOUT]
        assert await metric(http, server, state("abandoned")) == 2
        unready = await http.get(f"{server.admin}/readyz")
        assert unready.status_code == 503
        assert "[-]threads failed: all 2 threads (calls.threads) are held by calls that were given up" in unready.text
        refused = await post_modern(http, server, "tools/call", {"name": "process"})
        assert answer(refused)["error"]["data"]["reason"] == "threads_limit"
        since = len(server.lines)
        await server.logged(lambda line: "threads.process_ends" in line)
        await server.logged(lambda line: "serving.ready" in line, since)
        async with client() as again:  # the old process has taken its connections with it
            served = answer(await post_modern(again, server, "tools/call", {"name": "process"}))["result"]["content"][0]["text"]
        assert served != pid
    names = [event["event"] for event in server.events()]
    assert names.count("threads.exhausted") == 1


async def test_a_cancelled_call_is_answered_at_once_and_its_thread_is_counted_until_it_returns(tmp_path: Path) -> None:
    async with hanging(tmp_path) as (server, http), asyncio.TaskGroup() as tasks:
        session = await Legacy.begin(http, server.url)
        cancelled = tasks.create_task(session.post(request("tools/call", params("tools/call", "a"), 7)))
        await appears(tmp_path / "a.begun")
        await session.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
        assert answer(await cancelled)["error"]["code"] == CANCELLED
        leaving = tasks.create_task(post_modern(http, server, "tools/call", params("tools/call", "b")))
        await appears(tmp_path / "b.begun")
        leaving.cancel()
        await becomes(http, server, state("abandoned"), 2)
        assert await probe(http, server, "readyz") == 503
        (tmp_path / "a").touch()
        await becomes(http, server, state("abandoned"), 1)
        assert await probe(http, server, "readyz") == 200
        assert "result" in answer(await post_modern(http, server, "tools/call", {"name": "process"}))
        (tmp_path / "b").touch()
        await becomes(http, server, state("abandoned"), 0)


@pytest.mark.parametrize("entry", ["moorage", "uvicorn"])
async def test_a_drain_and_an_exit_wait_for_no_thread(tmp_path: Path, entry: Any) -> None:
    settings = {"DRAIN__BUDGET_SECONDS": "2", "DRAIN__SETTLE_SECONDS": "0", "CALLS__THREADS": "2", "plain_HANGING": str(tmp_path)}
    async with serving(entry, target=TOOLS, **settings) as server, client() as http, asyncio.TaskGroup() as tasks:
        hung = tasks.create_task(post_modern(http, server, "tools/call", params("tools/call", "a")))
        await appears(tmp_path / "a.begun")
        server.signal()
        assert answer(await hung)["error"]["message"] == "The server is shutting down"
        assert await server.exit_code(within=10) == 0


@pytest.mark.parametrize("tool", ["to_thread", "in_executor"])
@pytest.mark.parametrize("entry", ["moorage", "uvicorn", "dev"])
async def test_nor_do_they_wait_for_what_a_tool_has_handed_to_the_default_executor(tmp_path: Path, entry: Any, tool: str) -> None:
    settings = {"DRAIN__BUDGET_SECONDS": "2", "DRAIN__SETTLE_SECONDS": "0", "plain_HANGING": str(tmp_path)}
    target = TOOLS.with_name("executor_tools.py")
    async with serving(entry, target=target, **settings) as server, client() as http, asyncio.TaskGroup() as tasks:
        hung = tasks.create_task(post_modern(http, server, "tools/call", {"name": tool, "arguments": {"name": "a"}}))
        await appears(tmp_path / "a.begun")
        server.signal()
        assert answer(await hung)["error"]["message"] == "The server is shutting down"
        assert await server.exit_code(within=10) == 0

"""SIGTERM to a real process with everything open that can be: each ends as its protocol says, and the process with 0."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx2 as httpx
import pytest

from tests.integration.serving import (
    Entry,
    Legacy,
    Process,
    answer,
    appears,
    client,
    messages,
    modern,
    probe,
    request,
    serving,
    status_of_opening,
)

pytestmark = pytest.mark.anyio


@dataclass
class Busy:
    """A server with two streams open and a call of each era in flight."""

    server: Process
    http: httpx.AsyncClient
    release: Path
    get_stream: asyncio.Task[str]
    listen_stream: asyncio.Task[str]
    legacy_call: asyncio.Task[httpx.Response]
    modern_call: asyncio.Task[httpx.Response]

    async def draining(self) -> None:
        with anyio.fail_after(5):
            while await probe(self.http, self.server, "readyz") != 503:
                await asyncio.sleep(0)


async def read_all(stream: httpx.Response) -> str:
    return "".join([part async for part in stream.aiter_text()])


@asynccontextmanager
async def busy(entry: Entry, folder: Path, **settings: str) -> AsyncIterator[Busy]:
    settings = {"DRAIN__BUDGET_SECONDS": "15", **settings}
    async with serving(entry, **settings) as server, client() as http, AsyncExitStack() as stack:
        session = await Legacy.begin(http, server.url)
        get_stream = await stack.enter_async_context(session.listen())
        assert get_stream.status_code == 200

        body, headers = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, "listening")
        listening = await stack.enter_async_context(http.stream("POST", f"{server.url}/mcp", json=body, headers=headers))
        assert listening.headers["content-type"].startswith("text/event-stream")

        release = folder / "go-on"
        arguments = {"name": "wait_for", "arguments": {"path": str(release)}}
        legacy_call = asyncio.create_task(session.post(request("tools/call", arguments, 7)))
        await appears(folder / "go-on.begun")
        (folder / "go-on.begun").unlink()
        body, headers = modern("tools/call", arguments, 8)
        modern_call = asyncio.create_task(http.post(f"{server.url}/mcp", json=body, headers=headers))
        await appears(folder / "go-on.begun")
        streams = [asyncio.create_task(read_all(stream)) for stream in (get_stream, listening)]
        it = Busy(server, http, release, streams[0], streams[1], legacy_call, modern_call)
        try:
            yield it
        finally:
            for task in (*streams, legacy_call, modern_call):
                task.cancel()


@pytest.mark.parametrize("entry", ["moorage", "uvicorn"])
async def test_sigterm_ends_streams_properly_and_lets_calls_finish(entry: Entry, tmp_path: Path) -> None:
    async with busy(entry, tmp_path) as it:
        it.server.signal(signal.SIGTERM)
        await it.draining()
        assert await probe(it.http, it.server, "livez") == 200
        assert await status_of_opening(it.server) in (503, None)

        with anyio.fail_after(5):
            listened = messages(await it.listen_stream)
            assert (listened[-1]["id"], "result" in listened[-1]) == ("listening", True)
            await it.get_stream  # raises if it was cut instead of ended

        assert not it.legacy_call.done()
        assert not it.modern_call.done()
        assert await probe(it.http, it.server, "livez") == 200
        it.release.touch()
        with anyio.fail_after(5):
            finished = [await it.legacy_call, await it.modern_call]
        assert [response.status_code for response in finished] == [200, 200]
        assert [answer(response)["result"]["content"][0]["text"] for response in finished] == ["it appeared", "it appeared"]
        assert await it.server.exit_code(within=5) == 0


@pytest.mark.parametrize("entry", ["moorage", "uvicorn"])
async def test_a_call_that_outlasts_the_budget_is_told_so_and_the_process_ends_with_0(entry: Entry, tmp_path: Path) -> None:
    async with busy(entry, tmp_path, DRAIN__BUDGET_SECONDS="3") as it:
        it.server.signal(signal.SIGTERM)
        with anyio.fail_after(10):
            legacy, modern_one = await it.legacy_call, await it.modern_call
        assert "error" in answer(legacy)
        assert (answer(legacy)["id"], answer(modern_one)["id"]) == (7, 8)
        assert "error" in answer(modern_one)
        assert await it.server.exit_code(within=5) == 0


@pytest.mark.parametrize("entry", ["moorage", "uvicorn"])
async def test_an_idle_server_ends_at_once(entry: Entry) -> None:
    async with serving(entry, DRAIN__BUDGET_SECONDS="600") as server, client() as http:
        await Legacy.begin(http, server.url)
        server.signal(signal.SIGTERM)
        assert await server.exit_code(within=5) == 0


async def test_ctrl_c_drains_as_well_though_it_reaches_master_and_worker(tmp_path: Path) -> None:
    async with busy("moorage", tmp_path) as it:
        it.server.signal(signal.SIGINT)
        for worker in it.server.workers():
            os.kill(worker, signal.SIGINT)
        await it.draining()
        it.release.touch()
        with anyio.fail_after(5):
            assert answer(await it.modern_call)["result"]["content"][0]["text"] == "it appeared"
        assert await it.server.exit_code(within=5) == 0


async def test_a_second_wish_to_end_cuts_the_drain_short(tmp_path: Path) -> None:
    async with busy("moorage", tmp_path, DRAIN__BUDGET_SECONDS="600") as it:
        it.server.signal(signal.SIGTERM)
        await it.draining()
        await asyncio.sleep(1.1)  # what comes within a second of the first is taken for its echo
        it.server.signal(signal.SIGINT)
        with anyio.fail_after(5):
            assert ["error" in answer(await call) for call in (it.legacy_call, it.modern_call)] == [True, True]
        assert await it.server.exit_code(within=10) == 0

"""A tool that holds up the event loop of a real process is named while it does, and nothing is lost by it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx2 as httpx
import pytest

from tests.integration.serving import TOOLS, Legacy, Process, answer, client, modern, request, serving

pytestmark = pytest.mark.anyio

LINE = next(number for number, line in enumerate(TOOLS.read_text().splitlines(), 1) if "time.sleep" in line)
"""The tool's loop has two lines; nearly all of its time is spent in this one."""


def of(tool: str) -> Callable[[str], bool]:
    """Whether a line tells of a block by this tool; a machine that is busy may hold up a loop by itself."""
    return lambda line: "loop.blocked" in line and (f'"tool":"{tool}"' in line or f"tool={tool} " in line)


Era = Literal["modern", "legacy"]


@asynccontextmanager
async def held_up(
    http: httpx.AsyncClient, server: Process, era: Era, tool: str, release: Path
) -> AsyncGenerator[list[httpx.Response], None]:
    """A server that is held up until the block is left, at which its answer is there."""
    params = {"name": tool, "arguments": {"path": str(release)}}
    if era == "legacy":
        session = await Legacy.begin(http, server.url)
        call = asyncio.create_task(session.post(request("tools/call", params)))
    else:
        body, headers = modern("tools/call", params)
        call = asyncio.create_task(http.post(f"{server.url}/mcp", json=body, headers=headers))
    answers = list[httpx.Response]()
    try:
        yield answers
    finally:
        release.touch()  # also when the test failed: what is held up does not end when it is told to
    answers.append(await call)


@pytest.mark.parametrize("tool", ["block_until", "block_in_context"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_tool_that_blocks_is_named_with_its_line_in_log_metric_and_readiness(era: Era, tool: str, tmp_path: Path) -> None:
    async with serving() as server, client() as http:
        other = await Legacy.begin(http, server.url)
        release = tmp_path / "go-on"
        async with held_up(http, server, era, tool, release) as answers:
            event = json.loads(await server.logged(of(tool)))
        assert (event["level"], event["method"], event["tool"], event["over"]) == ("warning", "tools/call", tool, False)
        assert event["where"] == f"{TOOLS}:{LINE} in block_until"
        assert event["seconds"] >= 1
        assert str(release) not in json.dumps(event)
        assert answer(answers[0])["result"]["content"][0]["text"] == "it appeared"
        assert answer(await other.post(request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})))["result"]
        ready = await http.get(f"{server.admin}/readyz?verbose")
        metrics = (await http.get(f"{server.admin}/metrics")).text
    assert ready.status_code == 200
    assert f"by method tools/call tool {tool} at {TOOLS}:{LINE} in block_until" in ready.text
    assert "moorage_loop_blocked_total" in metrics
    assert "moorage_loop_blocked_total 0" not in metrics
    longest = next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("moorage_loop_lag_longest_seconds "))
    assert longest >= event["seconds"]
    assert "moorage_loop_lag_seconds_bucket" in metrics
    assert sum(map(of(tool), server.lines)) == 1


async def test_of_several_workers_the_one_that_was_held_up_says_so_and_all_end_as_told(tmp_path: Path) -> None:
    async with serving(SERVER__WORKERS="2") as server, client() as http:
        await server.all_ready(2)
        async with held_up(http, server, "modern", "block_until", tmp_path / "go-on") as answers:
            await server.logged(of("block_until"))
        assert answers[0].status_code == 200
        server.signal()
        assert await server.exit_code(within=20) == 0
        await server.ended()
    assert sum(map(of("block_until"), server.lines)) == 1


async def test_in_development_a_tool_that_blocks_is_named_too(tmp_path: Path) -> None:
    async with serving("dev") as server, client() as http:
        async with held_up(http, server, "modern", "block_until", tmp_path / "go-on") as answers:
            assert f"{TOOLS}:{LINE} in block_until" in await server.logged(of("block_until"))
        assert answers[0].status_code == 200

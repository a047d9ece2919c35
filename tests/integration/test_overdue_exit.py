"""A server that does not let its process end: it ends all the same when the time of its drain is up, and says what it waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.serving import Process, appears, client, modern, serving, started

pytestmark = pytest.mark.anyio

BUDGET: Final = 2
SETTINGS: Final = {"DRAIN__BUDGET_SECONDS": str(BUDGET)}
BEFORE_THE_MASTER_KILLS: Final = BUDGET + 4
"""The master kills a worker five seconds after its budget: that is what must not be needed."""

LIFESPAN: Final = """
import asyncio, contextlib, pathlib, time
from mcp.server.mcpserver import MCPServer

@contextlib.asynccontextmanager
async def life(_server):
    {start}
    yield {{}}
    {shutdown}

mcp = MCPServer("lingering", lifespan=life)
"""
MARK: Final = 'pathlib.Path(__file__).with_suffix(".begun").touch()'
# Nobody waits this long: it stands for code of the user's that never ends, and the process that runs it is ended.
HANGS: Final = {"waits": "await asyncio.sleep(1000)", "blocks the loop": "time.sleep(1000)"}


def server_in(folder: Path, text: str) -> Path:
    path = folder / "lingering.py"
    path.write_text(text)
    return path


async def overdue(server: Process) -> dict[str, Any]:
    """What the process says when it ends though something of it does not."""
    assert await server.exit_code(within=BEFORE_THE_MASTER_KILLS) == 0
    await server.ended()
    (event,) = [event for event in server.events() if event["event"] == "exit.overdue"]
    assert (event["level"], event["seconds"]) == ("error", BUDGET)
    assert not [event for event in server.events() if "SIGKILL" in event["event"]]
    return event


@pytest.mark.parametrize("how", HANGS)
async def test_a_start_that_does_not_end_is_named_and_left(tmp_path: Path, how: str) -> None:
    target = server_in(tmp_path, LIFESPAN.format(start=f"{MARK}; {HANGS[how]}", shutdown="pass"))
    async with started("moorage", target=target, **SETTINGS) as server:
        await appears(tmp_path / "lingering.begun")
        server.signal()
        event = await overdue(server)
    assert event["waited_for"] == "the start of the server's lifespan"
    assert ("lingering.py:" in event["where"]) == (how == "blocks the loop")


@pytest.mark.parametrize("how", HANGS)
async def test_a_shutdown_that_does_not_end_is_named_and_left(tmp_path: Path, how: str) -> None:
    async with serving("moorage", target=server_in(tmp_path, LIFESPAN.format(start="pass", shutdown=HANGS[how])), **SETTINGS) as server:
        server.signal()
        event = await overdue(server)
    assert event["waited_for"] == "the shutdown of the server's lifespan"
    assert ("lingering.py:" in event["where"]) == (how == "blocks the loop")


async def test_threads_for_which_the_interpreter_waits_are_named_and_left(tmp_path: Path) -> None:
    text = LIFESPAN.format(start="pass", shutdown="pass")
    text += "import threading\nthreading.Thread(target=time.sleep, args=(1000,), name='poller').start()\n"
    async with serving("moorage", target=server_in(tmp_path, text), **SETTINGS) as server:
        server.signal()
        event = await overdue(server)
    assert (event["waited_for"], event["threads"]) == ("threads that are no daemons", ["poller"])


async def test_a_tool_that_blocks_the_loop_holds_up_no_exit(tmp_path: Path) -> None:
    text = LIFESPAN.format(start="pass", shutdown="pass")
    text += f"@mcp.tool()\nasync def block() -> str:\n    {MARK}\n    time.sleep(1000)\n    return ''\n"
    async with serving("moorage", target=server_in(tmp_path, text), **SETTINGS) as server, client() as http:
        body, headers = modern("tools/call", {"name": "block", "arguments": {}})
        call = asyncio.create_task(http.post(f"{server.url}/mcp", json=body, headers=headers))
        await appears(tmp_path / "lingering.begun")
        server.signal()
        event = await overdue(server)
        await asyncio.gather(call, return_exceptions=True)
    assert "lingering.py:" in event["where"]
    assert "in block" in event["where"]


async def test_a_development_server_ends_in_time_as_well(tmp_path: Path) -> None:
    target = server_in(tmp_path, LIFESPAN.format(start="pass", shutdown=HANGS["waits"]))
    async with serving("dev", target=target) as server:
        server.signal()
        assert await server.exit_code(within=8) == 0
        await server.ended()
    assert "the shutdown of the server's lifespan" in server.log


async def test_a_shutdown_that_ends_in_time_is_let_be(tmp_path: Path) -> None:
    target = server_in(tmp_path, LIFESPAN.format(start="pass", shutdown=f"await asyncio.sleep(0.2); {MARK}"))
    async with serving("moorage", target=target, **SETTINGS) as server:
        server.signal()
        assert await server.exit_code(within=BEFORE_THE_MASTER_KILLS) == 0
        await server.ended()
    assert (tmp_path / "lingering.begun").exists()
    assert "exit.overdue" not in server.log

"""A worker that ends before it served is a failed start, however it ended: said once, and never tried again and again without a pause."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest

from tests.integration.serving import Process, answer, client, modern, serving, started

pytestmark = pytest.mark.anyio

ENDS = {
    "os._exit(1)": "with status 1",
    "os._exit(0)": "with status 0",
    "os._exit(3)": "with status 3",
    "os.kill(os.getpid(), signal.SIGKILL)": "by signal 9 (Killed)",
    "os.kill(os.getpid(), signal.SIGSEGV)": "by signal 11 (Segmentation fault)",
}

DYING = """
import asyncio, os, pathlib, signal
from mcp.server.mcpserver import MCPServer
folder = pathlib.Path(__file__).parent
if (folder / "dies").exists():
    {end}
mcp = MCPServer("dying")

@mcp.tool()
async def end(status: int) -> str:
    os._exit(status)

@mcp.tool()
async def pid() -> int:
    return os.getpid()
"""


def dying(folder: Path, end: str = "os._exit(1)", *, dies: bool = True) -> Path:
    """A target whose import ends the process while a file is there."""
    (folder / "target.py").write_text(DYING.format(end=end))
    if dies:
        (folder / "dies").touch()
    return folder / "target.py"


async def served_by(server: Process, *, among: int) -> set[int]:
    """The processes that serve, once there are so many."""
    seen = set[int]()
    body, headers = modern("tools/call", {"name": "pid", "arguments": {}})
    with anyio.fail_after(30):
        while len(seen) < among:
            async with client() as http:
                seen.add(int(answer(await http.post(f"{server.url}/mcp", json=body, headers=headers))["result"]["content"][0]["text"]))
    return seen


@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.parametrize("end", ENDS)
async def test_a_start_that_ends_its_process_ends_the_service_with_one_message(tmp_path: Path, end: str, workers: str) -> None:
    async with started(target=dying(tmp_path, end), SERVER__WORKERS=workers) as server:
        assert await server.exit_code(within=30) == 1
        await server.ended()
    said = [line for line in server.lines if line.startswith("moorage: error:")]
    assert len(said) == 1
    assert f") ended {ENDS[end]} before it served" in said[0]
    assert "What the target does when it is imported or started ends the process" in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize("status", [0, 1, 3, 4])
async def test_a_worker_that_served_and_ends_with_any_status_is_replaced_at_once(tmp_path: Path, status: int) -> None:
    async with serving(target=dying(tmp_path, dies=False)) as server:
        [before] = await served_by(server, among=1)
        since = len(server.lines)
        body, headers = modern("tools/call", {"name": "end", "arguments": {"status": status}})
        async with client() as http:
            with pytest.raises(Exception, match=r".*"):
                await http.post(f"{server.url}/mcp", json=body, headers=headers)
        await server.logged(lambda line: '"serving.ready"' in line, since)
        [after] = await served_by(server, among=1)
    assert after != before


@pytest.mark.parametrize("end", ENDS)
async def test_a_replacement_that_cannot_start_beside_others_that_serve_is_told_and_waits(tmp_path: Path, end: str) -> None:
    target = dying(tmp_path, end, dies=False)
    async with serving(target=target, SERVER__WORKERS="2") as server:
        await server.all_ready(2)
        first, second = await served_by(server, among=2)
        target.with_name("dies").touch()
        os.kill(first, signal.SIGKILL)
        line = await server.logged(lambda line: "worker.start_failed" in line)
        assert f") ended {ENDS[end]} before it served" in line
        assert '"retry_after_seconds":60' in line
        assert await served_by(server, among=1) == {second}
        assert server.workers() == [second]
        target.with_name("dies").unlink()
        since = len(server.lines)
        os.kill(second, signal.SIGKILL)  # nobody serves any more: that is tried at once
        await server.logged(lambda line: '"serving.ready"' in line, since)
        assert await served_by(server, among=1) <= {*server.workers()}


async def test_with_nobody_left_who_serves_a_failing_replacement_ends_the_service(tmp_path: Path) -> None:
    target = dying(tmp_path, dies=False)
    async with serving(target=target) as server:
        [before] = await served_by(server, among=1)
        target.with_name("dies").touch()
        os.kill(before, signal.SIGKILL)
        assert await server.exit_code(within=30) == 1
        await server.ended()
    assert sum("before it served" in line for line in server.lines) == 1


async def test_a_replacement_that_reports_why_it_cannot_start_leaves_those_that_serve_alone(tmp_path: Path) -> None:
    target = dying(tmp_path, dies=False)
    async with serving(target=target, SERVER__WORKERS="2") as server:
        await server.all_ready(2)
        first, second = await served_by(server, among=2)
        target.rename(tmp_path / "elsewhere.py")
        os.kill(first, signal.SIGKILL)
        line = await server.logged(lambda line: "worker.start_failed" in line)
        assert "there is no file" in line
        assert await served_by(server, among=1) == {second}
        assert server.workers() == [second]

"""Tools that call `sys.exit`, in a real worker on its own event loop: each is its call's own error, and only a signal ends the process."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.integration.serving import Legacy, answer, appears, client, modern, request, serving

pytestmark = pytest.mark.anyio

TARGET = Path(__file__).with_name("exiting_tools.py")
LOOPS = ["moorage", "uvicorn"]


@pytest.mark.parametrize("entry", LOOPS)
async def test_a_tool_that_exits_is_a_tool_error_and_a_signal_ends_the_process(entry: str, tmp_path: Path) -> None:
    async with serving(entry, target=TARGET) as server, client() as http:  # type: ignore[arg-type]
        before = server.workers()
        session = await Legacy.begin(http, server.url)
        for number, (tool, arguments) in enumerate(
            [
                ("leave", {}),
                ("leave_in_thread", {}),
                ("leave_in_task", {}),
                ("leave_task_behind", {"path": str(tmp_path / "behind")}),
                ("leave_from_thread", {"path": str(tmp_path / "thread")}),
            ],
            start=1,
        ):
            body, headers = modern("tools/call", {"name": tool, "arguments": arguments}, number)
            answered = answer(await http.post(f"{server.url}/mcp", json=body, headers=headers))
            again = answer(await session.post(request("tools/call", {"name": tool, "arguments": arguments}, number)))
            for message in (answered, again):
                assert message["id"] == number
                assert message["result"]["isError"] is (not arguments), message
        await appears(tmp_path / "behind")
        await appears(tmp_path / "thread")
        body, headers = modern("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
        assert answer(await http.post(f"{server.url}/mcp", json=body, headers=headers))["result"]["content"][0]["text"] == "3"
        assert server.workers() == before
        server.signal(signal.SIGTERM)
        assert await server.exit_code(within=15) == 0
    called = 2  # once in either era
    assert sum('"tool":"leave"' in line and "mcp.tool_failed" in line for line in server.lines) == called


async def test_a_callback_that_exits_does_not_end_the_worker_and_is_counted(tmp_path: Path) -> None:
    async with serving("moorage", target=TARGET) as server, client() as http:
        before = server.workers()
        body, headers = modern("tools/call", {"name": "leave_by_callbacks", "arguments": {"path": str(tmp_path / "over")}})
        assert answer(await http.post(f"{server.url}/mcp", json=body, headers=headers))["result"]["content"][0]["text"] == "still here"
        await appears(tmp_path / "over")
        body, headers = modern("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
        assert answer(await http.post(f"{server.url}/mcp", json=body, headers=headers))["result"]["content"][0]["text"] == "3"
        assert server.workers() == before
        metrics = (await http.get(f"{server.admin}/metrics")).text
        [counted] = re.findall(r'moorage_background_faults_total\{[^}]*"loop"[^}]*\} (\d+)', metrics)
        server.signal(signal.SIGTERM)
        assert await server.exit_code(within=15) == 0
    faults = [line for line in server.lines if '"task":"loop"' in line and "background.failed" in line]
    assert len(faults) == int(counted)
    assert "SystemExit" in faults[0]
    assert "KeyboardInterrupt" in faults[-1]

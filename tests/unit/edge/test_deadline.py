"""A call ends at its deadline, whichever era it is of and whether it streams; progress moves the deadline, up to a bound."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import Context, MCPServer

from moorage.app import create_app
from moorage.settings import Settings
from tests.comparison.wire import lifespan
from tests.unit.edge.conftest import Harbour, Start, header

pytestmark = pytest.mark.anyio

TIMEOUT = -32001


async def test_the_metrics_say_of_a_call_past_its_deadline_that_it_timed_out(start: Start) -> None:
    harbour = await start(calls={"deadline_seconds": 0.1})
    with anyio.fail_after(5):
        await harbour.modern("wait").finished()
    _, told = harbour.app.state.telemetry.render_metrics()
    counts = [line for line in told.decode().splitlines() if line.startswith("mcp_server_operation_duration_seconds_count")]
    assert len(counts) == 1
    assert all(label in counts[0] for label in ('moorage_outcome="timeout"', 'error_type="timeout"', 'rpc_response_status_code="-32001"'))


async def test_a_modern_call_past_its_deadline_is_answered_in_words(start: Start) -> None:
    harbour = await start(calls={"deadline_seconds": 0.1})
    exchange = harbour.modern("wait")
    with anyio.fail_after(5):
        await exchange.finished()
    error = json.loads(exchange.body)["error"]
    assert (error["code"], "stopped at its deadline" in error["message"]) == (TIMEOUT, True)


async def test_a_call_of_a_session_past_its_deadline_is_answered_in_words_and_the_session_goes_on(start: Start) -> None:
    harbour = await start(calls={"deadline_seconds": 0.1})
    session = header(await harbour.session(), "mcp-session-id")
    assert session is not None
    late = harbour.legacy(session, {"id": 1, "method": "tools/call", "params": {"name": "wait", "arguments": {}}})
    with anyio.fail_after(5):
        await late.finished()
    assert (late.status, json.loads(late.body)["error"]["code"]) == (200, TIMEOUT)
    quick = harbour.legacy(session, {"id": 2, "method": "tools/call", "params": {"name": "quick", "arguments": {}}})
    await quick.finished()
    assert json.loads(quick.body)["result"]["isError"] is False


async def test_a_question_to_the_client_ends_with_the_deadline_of_its_call(start: Start) -> None:
    harbour = await start(calls={"deadline_seconds": 0.1})
    session = header(await harbour.session(), "mcp-session-id")
    assert session is not None
    asking = harbour.legacy(session, {"id": 1, "method": "tools/call", "params": {"name": "berth", "arguments": {}}})
    with anyio.fail_after(5):
        await asking.finished()
    assert b"elicitation/create" in asking.body
    assert b"-32001" in asking.body


async def test_progress_moves_the_deadline_and_no_progress_passes_the_longest_time() -> None:
    server = MCPServer("diligent", version="1")

    @server.tool()
    async def diligent(ctx: Context[Any, Any]) -> str:
        for step in range(1_000_000):
            await ctx.report_progress(step)
            await asyncio.sleep(0.2)
        return "done"

    calls = {"deadline_seconds": 1.0, "longest_seconds": 2.5}
    harbour = Harbour(create_app(Settings.model_validate({"admin": {"port": 0}, "logs": {"level": "error"}, "calls": calls}), server))
    async with lifespan(harbour.app):
        exchange = harbour.modern("diligent")
        with anyio.fail_after(20):
            await exchange.finished()
    last = json.loads(exchange.body.strip().rpartition(b"data: ")[2])
    assert last["error"]["code"] == TIMEOUT
    assert float(last["error"]["message"].partition("after ")[2].partition(" s")[0]) >= 2.5

"""A low-level server is served as well: its calls take the SDK's own endpoint, and a drain knows of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import pytest
from mcp.server.lowlevel.server import Server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent, Tool

from moorage.app import create_app
from moorage.settings import Settings
from tests.comparison.wire import lifespan
from tests.unit.edge.conftest import Harbour

pytestmark = pytest.mark.anyio


def harbour() -> Harbour:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def tools(ctx: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[Tool(name="wait", input_schema={"type": "object"})])

    async def call(ctx: Any, params: CallToolRequestParams) -> CallToolResult:
        arrived.set()
        await release.wait()
        return CallToolResult(content=[TextContent(type="text", text="released")])

    server = Server("low", on_list_tools=tools, on_call_tool=call)
    settings = Settings.model_validate({"admin": {"port": 0}, "logs": {"level": "error"}})
    return Harbour(create_app(settings, server), arrived, release)


@pytest.mark.parametrize("arguments", [{}, {"ship": "Rose"}])
async def test_a_drain_waits_for_a_call_of_a_low_level_server(arguments: dict[str, str]) -> None:
    low = harbour()
    async with lifespan(low.app):
        call = low.modern("wait", arguments=arguments)
        with anyio.fail_after(5):
            await low.arrived.wait()
        service = low.app.state.service
        assert service.in_flight.calls == 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.finish_calls)
            low.release.set()
        await call.finished()
        assert json.loads(call.body)["result"]["content"] == [{"type": "text", "text": "released"}]


@pytest.mark.parametrize("arguments", [{}, {"ship": "Rose"}])
async def test_what_a_drain_gives_up_is_answered(arguments: dict[str, str]) -> None:
    low = harbour()
    async with lifespan(low.app):
        call = low.modern("wait", arguments=arguments)
        with anyio.fail_after(5):
            await low.arrived.wait()
            await low.app.state.service.cancel_calls()
        await call.finished()
        assert json.loads(call.body)["error"]["message"] == "The server is shutting down"

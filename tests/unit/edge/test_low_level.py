"""A low-level server is served as well: its calls take the SDK's own endpoint, and a drain knows of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from mcp.server.lowlevel.server import Server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, NotificationParams, PaginatedRequestParams, TextContent, Tool

from moorage.app import create_app
from moorage.settings import Settings
from tests.comparison.wire import lifespan
from tests.events import written
from tests.unit.edge.conftest import Harbour, header

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
    settings = Settings.model_validate({"admin": {"port": 0}, "logs": {"level": "info"}})
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


async def test_a_drain_waits_for_the_handler_of_a_notification() -> None:
    low = harbour()

    async def rooted(ctx: Any, params: NotificationParams | None) -> None:
        low.arrived.set()
        await low.release.wait()

    low.app.state.service.server.add_notification_handler("notifications/roots/list_changed", NotificationParams, rooted)
    async with lifespan(low.app):
        session = header(await low.session(), "mcp-session-id")
        assert session is not None
        await low.legacy(session, {"method": "notifications/initialized"}).finished()
        told = low.legacy(session, {"method": "notifications/roots/list_changed"})
        service = low.app.state.service
        with anyio.fail_after(5):
            await low.arrived.wait()
            assert await told.started() == 202
            assert service.in_flight.calls == 1
            drained = asyncio.create_task(service.finish_calls())
            await asyncio.sleep(0)
            assert not drained.done()
            low.release.set()
            await drained
        await told.finished()


@pytest.mark.parametrize("make", [lambda: SystemExit(3), lambda: ValueError("broken"), lambda: asyncio.CancelledError()])
async def test_a_handler_of_a_notification_that_raises_anything_ends_nothing(make: Callable[[], BaseException]) -> None:
    low = harbour()

    async def rooted(ctx: Any, params: NotificationParams | None) -> None:
        raise make()

    low.app.state.service.server.add_notification_handler("notifications/roots/list_changed", NotificationParams, rooted)
    async with lifespan(low.app):
        session = header(await low.session(), "mcp-session-id")
        assert session is not None
        await low.legacy(session, {"method": "notifications/initialized"}).finished()
        with written() as events:
            told = low.legacy(session, {"method": "notifications/roots/list_changed"})
            with anyio.fail_after(5):
                await told.finished()
        assert told.status == 202
        assert [event["outcome"] for event in events if event["event"] == "mcp.request"] == ["error"]
        assert [event for event in events if event["level"] == "error"]
        ping = low.legacy(session, {"id": 1, "method": "ping"})
        await ping.finished()
        assert ping.status == 200

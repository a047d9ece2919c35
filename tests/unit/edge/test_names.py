"""What a caller names becomes a label only once it succeeded, cut and in a bounded number: a low-level server lists no tools."""

from __future__ import annotations

import re
from typing import Any

import pytest
from mcp.server.lowlevel.server import Server
from mcp_types import CallToolRequestParams, CallToolResult, TextContent

from moorage.app import create_app
from moorage.protocol.observation import MAX_LEARNED, MAX_NAME_CHARACTERS
from moorage.settings import Settings
from tests.comparison.wire import lifespan
from tests.unit.edge.conftest import Harbour

pytestmark = pytest.mark.anyio


async def call(ctx: Any, params: CallToolRequestParams) -> CallToolResult:
    """Answer any name; one that begins with `no` as a server does that has no such tool."""
    return CallToolResult(content=[TextContent(type="text", text="x")], is_error=params.name.startswith("no"))


async def labels(harbour: Harbour) -> set[str]:
    _, metrics = harbour.app.state.telemetry.render_metrics()
    return set(re.findall(r'gen_ai_tool_name="([^"]+)"', metrics.decode()))


async def test_names_that_a_caller_made_up_are_labels_only_after_a_success_and_never_long_or_many() -> None:
    server: Server[Any] = Server("any", on_call_tool=call)
    harbour = Harbour(create_app(Settings.model_validate({"admin": {"port": 0}, "logs": {"level": "error"}}), server))

    async def ask(name: str, times: int = 2) -> None:
        for _ in range(times):
            exchange = harbour.modern(name)
            await exchange.finished()
            assert exchange.status == 200, exchange.body

    async with lifespan(harbour.app):
        await ask("no-such-tool")
        await ask("once", times=1)
        assert await labels(harbour) == set()
        await ask("twice")
        await ask("t" * 3000)
        assert await labels(harbour) == {"twice", "t" * MAX_NAME_CHARACTERS}
        for number in range(MAX_LEARNED + 50):
            await ask(f"made-up-{number}")
        assert len(await labels(harbour)) <= MAX_LEARNED

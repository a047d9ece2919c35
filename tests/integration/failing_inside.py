"""A tool that breaks what runs beside the requests: the ticker of the calls in flight once, or the server's own lifespan for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.server.mcpserver import MCPServer

from moorage.protocol.call import InFlight

broken = {"ticker": asyncio.Event(), "lifespan": asyncio.Event()}


@asynccontextmanager
async def lifespan(_server: Any) -> AsyncGenerator[None, None]:
    async def fail() -> None:
        await broken["lifespan"].wait()
        raise RuntimeError("the lifespan fails")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail)
        yield
        tasks.cancel_scope.cancel()


mcp = MCPServer("failing", lifespan=lifespan)
_tick_forever = InFlight._tick_forever


async def _fail_once(self: InFlight) -> None:
    if not broken["ticker"].is_set():
        await broken["ticker"].wait()
        raise RuntimeError("the ticker fails")
    await _tick_forever(self)


InFlight._tick_forever = _fail_once  # type: ignore[method-assign]


@mcp.tool()
async def breaks(what: str) -> str:
    """Break it."""
    broken[what].set()
    return "broken"

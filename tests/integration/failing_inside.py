"""Tools, and a keep-alive ticker that fails once a call has asked for it: something inside that runs beside the requests."""

from __future__ import annotations

import asyncio
from typing import Any

from mcp.server.mcpserver import MCPServer

from moorage.protocol.call import InFlight

broken = asyncio.Event()
mcp = MCPServer("failing")


async def _fail(_self: InFlight, _tasks: Any) -> None:
    await broken.wait()
    raise RuntimeError("the ticker fails")


InFlight._tick_forever = _fail  # type: ignore[method-assign]


@mcp.tool()
async def breaks() -> str:
    """Break it."""
    broken.set()
    return "broken"

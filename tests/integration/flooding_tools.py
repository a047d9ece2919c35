"""Tools for clients that do not read: one long answer, and progress without end, in a folder where they say that they began and ended."""

import os
from pathlib import Path
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer

mcp = MCPServer("flooding-tools", version="1.0.0")
folder = Path(os.environ["FLOODING"])


@mcp.tool()
async def quick() -> str:
    """Say little."""
    return "done"


@mcp.tool()
async def big(mebibytes: int) -> str:
    """Say much."""
    return "x" * (mebibytes << 20)


@mcp.tool()
async def flood(name: str, events: int, ctx: Context[Any, Any]) -> str:
    """Report so many times, 40 KB each, and then last until the file NAME.go is there."""
    (folder / f"{name}.begun").touch()
    try:
        for event in range(events):
            await ctx.report_progress(event, None, "x" * 40_000)
            await anyio.sleep(0.02)  # what is written is on its way: a burst would end the stream before the connection is full
        while not (folder / f"{name}.go").exists():
            await anyio.sleep(0.02)
        return f"{name} is done"
    finally:
        (folder / f"{name}.ended").touch()

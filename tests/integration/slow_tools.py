"""Tools for the tests: calls that last until a file appears."""

import asyncio
import time
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer

mcp = MCPServer("slow-tools", version="1.0.0")


@mcp.tool()
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@mcp.tool()
async def wait_for(path: str) -> str:
    """Write PATH.begun, then wait for PATH."""
    Path(f"{path}.begun").touch()
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    return "it appeared"


@mcp.tool()
async def block_until(path: str) -> str:
    """Write PATH.begun, then block the whole event loop until PATH is there."""
    Path(f"{path}.begun").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return "it appeared"


@mcp.tool()
async def block_in_context(path: str, ctx: Context[Any, Any]) -> str:
    """The same by a tool that has a context."""
    await ctx.report_progress(1, 2)
    return await block_until(path)


@mcp.prompt()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Say hello to {name}."

"""Tools for the tests: calls that last until a file appears."""

import asyncio
import time
from pathlib import Path

from mcp.server.mcpserver import MCPServer

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


@mcp.prompt()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Say hello to {name}."

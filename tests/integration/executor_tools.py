"""Async tools that hand a function to asyncio's default executor, which lasts until a file appears in the folder HANGING."""

import asyncio
import os
import time
from pathlib import Path

from mcp.server.mcpserver import MCPServer

mcp = MCPServer("executor-tools", version="1.0.0")
folder = Path(os.environ["HANGING"])


def hangs(name: str) -> str:
    (folder / f"{name}.begun").touch()
    while not (folder / name).exists():
        time.sleep(0.01)
    return f"{name} is there"


@mcp.tool()
async def to_thread(name: str) -> str:
    """Last until the file is there."""
    return await asyncio.to_thread(hangs, name)


@mcp.tool()
async def in_executor(name: str) -> str:
    """The same."""
    return await asyncio.get_running_loop().run_in_executor(None, hangs, name)

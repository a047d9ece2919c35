"""Plain functions for the tests, one of each kind, that last until a file appears in the folder HANGING."""

import os
import time
from pathlib import Path

from mcp.server.mcpserver import MCPServer

mcp = MCPServer("hanging-tools", version="1.0.0")
folder = Path(os.environ["HANGING"])


def hangs(name: str) -> str:
    (folder / f"{name}.begun").touch()
    while not (folder / name).exists():
        time.sleep(0.01)
    return f"{name} is there"


@mcp.tool()
def hang(name: str) -> str:
    """Last until the file is there."""
    return hangs(name)


@mcp.tool()
def process() -> int:
    """Tell which process this is."""
    return os.getpid()


@mcp.tool()
async def quick() -> str:
    """Need no thread."""
    return "done"


@mcp.prompt()
def hanging_prompt(name: str) -> str:
    """The same, as a prompt."""
    return hangs(name)


@mcp.resource("hanging://{name}")
def hanging_resource(name: str) -> str:
    """The same, as a resource."""
    return hangs(name)

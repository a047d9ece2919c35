"""Tools that try to end the process, each in another way, and one that is merely there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer

mcp = MCPServer("exiting")
left_behind = set[asyncio.Task[None]]()


async def _leave() -> None:
    sys.exit(3)


@mcp.tool()
async def leave() -> str:
    """End the process in the tool's own frame."""
    sys.exit(3)


@mcp.tool()
def leave_in_thread() -> str:
    """End it in the thread that sync tools run in."""
    sys.exit(3)


@mcp.tool()
async def leave_in_task() -> str:
    """End it in a task that is awaited."""
    await asyncio.create_task(_leave())
    return "still here"


@mcp.tool()
async def leave_task_behind(path: str) -> str:
    """End it in a task that nobody awaits, and that is over when PATH exists."""

    async def leave() -> None:
        try:
            await _leave()
        finally:
            Path(path).touch()

    left_behind.add(asyncio.create_task(leave()))
    return "left behind"


@mcp.tool()
async def leave_from_thread(path: str) -> str:
    """End it in a task that a thread has handed to the loop."""
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(_leave(), loop).exception())
    Path(path).touch()
    return "handed over"


@mcp.tool()
async def leave_by_callbacks(path: str) -> str:
    """End it in callbacks of the loop: one at once, one by a timer, one of a future, one from a thread; over when PATH exists."""
    loop = asyncio.get_running_loop()
    loop.call_soon(sys.exit, 3)
    done = loop.create_future()
    done.add_done_callback(lambda _: sys.exit(3))
    done.set_result(None)
    loop.call_later(0, sys.exit, 3)
    await asyncio.to_thread(loop.call_soon_threadsafe, sys.exit, 3)
    loop.call_later(0.001, _interrupt)
    loop.call_later(0.002, Path(path).touch)
    return "still here"


def _interrupt() -> None:
    raise KeyboardInterrupt


@mcp.tool()
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

"""The server under test: tools that emit integers, each once in the world, and write down what they emit before they do."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from pydantic import BaseModel

from tests.chaos.history import Begun, Emitted, Finished, Journal

Ctx = Context[Any, Any]

mcp = MCPServer("chaos", version="1.0.0")
_journal: Final = Journal()


def _begin(call: int, tool: str) -> str:
    run = secrets.token_hex(6)
    _journal.write(Begun(call, run, tool, os.getpid()))
    return run


def _finish(call: int, run: str) -> dict[str, Any]:
    _journal.write(Finished(run))
    return {"call": call, "run": run, "process": os.getpid()}


async def _append(call: int, count: int, pause_seconds: float, run: str, ctx: Ctx, pad: int) -> dict[str, Any]:
    """Emit each integer as progress and as a log message of this call."""
    for number in range(count):
        value = call + number
        _journal.write(Emitted(run, "progress", value))
        await ctx.report_progress(number + 1, count, json.dumps({"value": value, "run": run}))
        _journal.write(Emitted(run, "log", value))
        await ctx.info({"value": value, "run": run, "process": os.getpid(), "pad": "x" * pad})  # pyright: ignore[reportDeprecated]
        await asyncio.sleep(pause_seconds)
    return _finish(call, run)


@mcp.tool(annotations=ToolAnnotations(idempotent_hint=True))
async def append(call: int, count: int, ctx: Ctx, pause_seconds: float = 0, pad: int = 0) -> dict[str, Any]:
    """Emit integers; may be run again."""
    return await _append(call, count, pause_seconds, _begin(call, "append"), ctx, pad)


@mcp.tool()
async def append_once(call: int, count: int, ctx: Ctx, pause_seconds: float = 0, pad: int = 0) -> dict[str, Any]:
    """Emit integers; must never be run again."""
    return await _append(call, count, pause_seconds, _begin(call, "append_once"), ctx, pad)


@mcp.tool()
async def notify(call: int, count: int, ctx: Ctx, pause_seconds: float = 0, pad: int = 0) -> dict[str, Any]:
    """Emit integers on the session's GET stream."""
    run = _begin(call, "notify")
    for value in range(call, call + count):
        _journal.write(Emitted(run, "notice", value))
        data = {"value": value, "run": run, "pad": "x" * pad}
        await ctx.session.send_log_message("info", data)  # pyright: ignore[reportDeprecated]
        await asyncio.sleep(pause_seconds)
    return _finish(call, run)


class Answer(BaseModel):
    """What a client says when it is asked."""

    value: int


@mcp.tool()
async def ask(call: int, ctx: Ctx) -> dict[str, Any]:
    """Ask the client for the integer that the question names; another one is named in the result."""
    run = _begin(call, "ask")
    answer = await ctx.elicit(str(call), Answer)
    return _finish(answer.data.value if answer.action == "accept" else -1, run)


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
async def whoami() -> int:
    """The process that serves this session now."""
    return os.getpid()


@mcp.tool()
async def wait(seconds: float) -> float:
    """Take so long, and do nothing."""
    await asyncio.sleep(seconds)
    return seconds


@mcp.tool()
async def flood(pieces: int, size: int, ctx: Ctx) -> str:
    """Report progress in large pieces, as fast as they are taken, and end with a result of that size."""
    for piece in range(pieces):
        await ctx.report_progress(piece + 1, pieces, "x" * size)
    return "x" * size


@mcp.tool()
def hang(seconds: float) -> float:
    """Hold a thread for so long."""
    time.sleep(seconds)
    return seconds


@mcp.tool()
async def block(seconds: float) -> float:
    """Hold up the event loop for so long, as a tool does that waits without await."""
    time.sleep(seconds)
    return seconds

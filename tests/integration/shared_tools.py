"""Tools for sessions that several replicas share: what they do last waits for a file, and each run leaves a trace."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmptyResult,
    InputRequiredResult,
    SubscribeRequestParams,
    ToolAnnotations,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel

mcp: MCPServer[Any] = MCPServer("shared-tools", version="1.0.0")
Ctx = Context[Any, Any]
STEPS = 3


class Ship(BaseModel):
    """What the user is asked for."""

    name: str


@mcp.tool()
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def _work(path: str, ctx: Ctx) -> str:
    """Report progress 1, 2, 3, wait for PATH, report 4; PATH.runs has a line for each run."""
    with Path(f"{path}.runs").open("a") as runs:
        runs.write("run\n")
    for step in range(1, STEPS + 1):
        await ctx.report_progress(step, STEPS + 1)
    try:
        while not Path(path).exists():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        Path(f"{path}.cancelled").touch()
        raise
    await ctx.report_progress(STEPS + 1, STEPS + 1)
    return f"done with {Path(path).name}"


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
async def look(path: str, ctx: Ctx) -> str:
    """Work that may be done twice, since it changes nothing."""
    return await _work(path, ctx)


@mcp.tool(annotations=ToolAnnotations(idempotent_hint=True))
async def moor(path: str, ctx: Ctx) -> str:
    """Work that may be done twice, since the second time changes nothing more."""
    return await _work(path, ctx)


@mcp.tool()
async def launch(path: str, ctx: Ctx) -> str:
    """Work that may not be done twice."""
    return await _work(path, ctx)


@mcp.tool()
async def wait_silently(path: str) -> str:
    """Write PATH.begun, say nothing, wait for PATH."""
    Path(f"{path}.begun").touch()
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    return "it appeared"


@mcp.tool()
async def ask(ctx: Ctx) -> str:
    """Ask the user on this call's stream."""
    answered = await ctx.elicit("Which ship?", Ship)
    return f"{answered.data.name} it is" if answered.action == "accept" else answered.action


@mcp.tool()
async def tell(first: int, last: int, ctx: Ctx) -> str:
    """Say numbers on the session's GET stream."""
    for number in range(first, last + 1):
        await ctx.session.send_log_message(level="info", data=number)  # pyright: ignore[reportDeprecated]
    return "told"


@mcp.tool()
async def publish(uri: str, ctx: Ctx) -> str:
    """Announce that a resource changed, or, without one, that the tools did."""
    await (ctx.notify_resource_updated(uri) if uri else ctx.notify_tools_changed())
    return "published"


@mcp.tool()
async def confirm(ctx: Ctx) -> str | InputRequiredResult:
    """Ask between two calls, the modern way, with a state of one's own."""
    answer = (ctx.input_responses or {}).get("sure")
    if ctx.request_state == "asked" and isinstance(answer, ElicitResult):
        return f"confirmed: {(answer.content or {})['ok']}"
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    question = ElicitRequest(params=ElicitRequestFormParams(message="Sure?", requested_schema=schema))
    return InputRequiredResult(input_requests={"sure": question}, request_state="asked")


@mcp.resource("ship://{name}")
def ship(name: str) -> str:
    """A ship."""
    return name


async def accept(ctx: ServerRequestContext[Any, Any], params: Any) -> EmptyResult:
    """What a client watches is moorage's to know."""
    return EmptyResult()


_low_level = mcp._lowlevel_server
_low_level.add_request_handler("resources/subscribe", SubscribeRequestParams, accept)
_low_level.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, accept)

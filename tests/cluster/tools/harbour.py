"""The tools of the cluster tests, mounted into the pods through the chart's ``tools.files``.

``announce`` speaks on the session's own stream, ``voyage`` and ``haul`` on their call's; all in integers, so that a client can tell what
is missing.

``ships`` reports one ship and then waits until ``release`` is called in the same pod: what a client has seen by then cannot have been
held back on its way.
"""

import os
from collections import defaultdict

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import LoggingMessageNotification, LoggingMessageNotificationParams, ToolAnnotations
from pydantic import BaseModel

mcp = MCPServer("harbour", version="1.0.0")
gates: dict[str, anyio.Event] = defaultdict(anyio.Event)


@mcp.tool()
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@mcp.tool()
async def pod() -> str:
    """The name of the pod that answers."""
    return os.environ["HOSTNAME"]


@mcp.tool()
async def ships(gate: str, ctx: Context) -> str:
    """Report one ship, wait at the gate, report the next."""
    await ctx.report_progress(1, 2, "Alpha")
    try:
        with anyio.fail_after(60):
            await gates[gate].wait()
    finally:
        del gates[gate]
    await ctx.report_progress(2, 2, "Bravo")
    return "2 ships"


@mcp.tool()
async def release(gate: str) -> bool:
    """Open the gate if a call waits at it in this pod."""
    if gate not in gates:
        return False
    gates[gate].set()
    return True


@mcp.tool()
async def announce(number: int, ctx: Context) -> int:
    """Say a number on the session's own stream."""
    said = LoggingMessageNotificationParams(level="info", data=number)
    await ctx.session.send_notification(LoggingMessageNotification(params=said))
    return number


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
async def voyage(legs: int, ctx: Context) -> int:
    """Report each leg; whoever takes over may begin again."""
    return await count(legs, ctx)


@mcp.tool()
async def haul(legs: int, ctx: Context) -> int:
    """The same, but not to be done twice."""
    return await count(legs, ctx)


async def count(legs: int, ctx: Context) -> int:
    for leg in range(1, legs + 1):
        await ctx.report_progress(leg, legs)
        await anyio.sleep(0.25)
    return legs


class Berth(BaseModel):
    """What the captain says."""

    number: int


@mcp.tool()
async def ask(ctx: Context) -> int:
    """Ask the user for a number."""
    answer = await ctx.elicit("Which berth?", Berth)
    return answer.data.number if answer.action == "accept" else 0

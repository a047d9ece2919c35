"""The tools of the cluster tests, mounted into the pods through the chart's ``tools.files``.

``ships`` reports one ship and then waits until ``release`` is called in the same pod: what a client has seen by then cannot have been
held back on its way.
"""

import os
from collections import defaultdict

import anyio
from mcp.server.mcpserver import Context, MCPServer

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

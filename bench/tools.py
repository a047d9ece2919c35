"""What every server in the comparison serves: the smallest useful tool, and the smallest that streams."""

from mcp.server.mcpserver import Context, MCPServer

mcp = MCPServer("bench", version="1.0.0")


@mcp.tool()
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@mcp.tool()
async def add_aloud(a: int, b: int, ctx: Context) -> int:
    """Add two numbers, and report progress once."""
    await ctx.report_progress(1, 2)
    return a + b

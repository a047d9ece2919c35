"""The tools of this deployment."""

from mcp.server.mcpserver import MCPServer

mcp = MCPServer("harbour")


@mcp.tool()
async def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b

"""What every server in the comparison serves: the smallest useful tool."""

from mcp.server.mcpserver import MCPServer

mcp = MCPServer("bench", version="1.0.0")


@mcp.tool()
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

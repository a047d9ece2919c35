"""A server on whose ports the head of a request has to be complete within a second, so that a test need not wait for thirty."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

from moorage.edge.http import BoundedProtocol

BoundedProtocol.head_timeout_seconds = 1.0

mcp = MCPServer("hasty")


@mcp.tool()
async def add(a: int, b: int) -> int:
    """Add."""
    return a + b

"""A low-level Server: handlers instead of tools, a listing in pages, and one handler that returns what it must not."""

from __future__ import annotations

from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent, Tool

from . import Notes

Ctx = ServerRequestContext[Any, Any]

REGION = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
PAGES = {
    None: ListToolsResult(tools=[Tool(name="plain", input_schema={"type": "object"})], next_cursor="2"),
    "2": ListToolsResult(tools=[Tool(name="regional", input_schema=REGION)]),
}


async def list_tools(ctx: Ctx, params: PaginatedRequestParams | None) -> ListToolsResult:
    """One tool a page; the one with a mirrored argument is on the second."""
    cursor = params.cursor if params else None
    if cursor not in PAGES:
        raise MCPError(code=-32602, message="unknown cursor")
    return PAGES[cursor]


async def call_tool(ctx: Ctx, params: CallToolRequestParams) -> CallToolResult:
    """Answer by the tool's name."""
    if params.name == "crash":
        raise RuntimeError("internal detail")
    if params.name == "wrong-shape":
        return "text"  # pyright: ignore[reportReturnType]
    text = f"{params.name} {sorted((params.arguments or {}).items())}"
    return CallToolResult(content=[TextContent(type="text", text=text)])


def build(notes: Notes) -> Server[Any]:
    """The server with its two handlers."""
    return Server("lowlevel", version="0.1", on_list_tools=list_tools, on_call_tool=call_tool)

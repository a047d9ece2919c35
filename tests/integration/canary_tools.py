"""Tools that are told secrets and fail with them."""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, ConfigDict

server = MCPServer("canary", version="1")


@server.tool()
async def headers(ctx: Context[Any, Any]) -> str:
    """Say which request headers a tool sees, and all else that it can reach from there."""
    request = ctx.request_context.request
    assert request is not None
    return f"{sorted(request.headers.items())} {sorted(ctx.headers or {})} {request.scope['headers']}"


@server.tool()
async def explode(secret: str) -> str:
    raise ValueError(secret)


@server.tool()
async def explode_within(secret: str, ctx: Context[Any, Any]) -> str:
    try:
        open(secret).close()
    except OSError as error:
        raise RuntimeError(secret) from error
    return str(ctx)


@server.tool()
async def refuse(secret: str) -> str:
    raise ToolError(secret)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def look(secret: str, ctx: Context[Any, Any]) -> str:
    """Say something on a stream; may be run again with its arguments by another replica."""
    await ctx.report_progress(len(secret), 10)
    return "looked"


@server.tool()
async def count(number: int, by_name: dict[str, int]) -> str:
    return f"{number} {by_name}"


class Wanted(BaseModel):
    """Is more than what comes."""

    model_config = ConfigDict(extra="forbid")
    port: int


@server.tool()
async def count_within(number: int, by_name: dict[str, int], wanted: Wanted, ctx: Context[Any, Any]) -> str:
    return f"{number} {by_name} {wanted} {ctx.request_id}"


@server.tool()
async def leave(secret: str, ctx: Context[Any, Any]) -> str:
    """Fail with what is no `Exception`."""
    raise SystemExit(f"{secret} {ctx.request_id}")


@server.resource("counted://all{?number}")
async def counted(number: int = 0) -> str:
    return str(number)


@server.prompt()
async def numbered(number: int) -> str:
    return str(number)


@server.completion()
async def complete(ref: Any, argument: Any, context: Any) -> None:
    raise ValueError(argument.name)

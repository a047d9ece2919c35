"""The everyday server behind middleware that notes, vetoes, rewrites, short-circuits and adds to results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ErrorData

from . import Notes, everyday

Ctx = ServerRequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class NotesEverything:
    """Notes what goes in and how it comes out; the notes of both applications are compared."""

    notes: Notes

    async def __call__(self, ctx: Ctx, call_next: CallNext) -> HandlerResult:
        self.notes.lines.append(f"in {ctx.method} {ctx.request_id!r} {sorted(ctx.params or ())}")
        try:
            result = await call_next(ctx)
        except Exception as error:
            self.notes.lines.append(f"out {ctx.method} {type(error).__name__}")
            raise
        self.notes.lines.append(f"out {ctx.method} {type(result).__name__}")
        return result


async def stamp(ctx: Ctx, call_next: CallNext) -> HandlerResult:
    """Add to the ``_meta`` of a tool's result."""
    result = await call_next(ctx)
    if isinstance(result, dict) and ctx.method == "tools/call":
        return {**result, "_meta": {**result.get("_meta", {}), "stamped": True}}
    return result


async def decide(ctx: Ctx, call_next: CallNext) -> HandlerResult:
    """Act on the tool's name before anything was validated."""
    name = (ctx.params or {}).get("name")
    if name == "vetoed":
        raise MCPError(code=-32001, message="not for you")
    if name == "crashing-middleware":
        raise RuntimeError("internal detail")
    if name == "short-circuited":
        return CallToolResult(content=[])
    if name == "answered-with-nothing":
        return None
    if name == "answered-with-an-error":
        return ErrorData(code=-32003, message="by value")
    if name == "rewritten":
        return await call_next(replace(ctx, params={**(ctx.params or {}), "name": "add", "arguments": {"a": 40, "b": 2}}))
    if name == "another-method":
        return await call_next(replace(ctx, method="tools/list", params={"_meta": (ctx.params or {})["_meta"]}))
    return await call_next(ctx)


def build(notes: Notes) -> MCPServer[Any]:
    """The everyday server, guarded."""
    server = everyday.build(notes, "guarded")
    server.middleware.extend([NotesEverything(notes), stamp, decide])
    return server

"""Async tools that do not end when they are cancelled; each makes the file `NAME.begun` in the folder RESISTING first."""

import asyncio
import os
from pathlib import Path

import anyio
from mcp.server.mcpserver import Context, MCPServer

mcp = MCPServer("resisting-tools", version="1.0.0")
folder = Path(os.environ["RESISTING"])


async def resist(how: str, name: str) -> str:
    (folder / f"{name}.begun").touch()
    forever = asyncio.Event()
    match how:
        case "swallows":
            while True:
                try:
                    await forever.wait()
                except asyncio.CancelledError:
                    continue
        case "shielded scope":
            with anyio.CancelScope(shield=True):
                await forever.wait()
        case "asyncio.shield":
            held = asyncio.ensure_future(forever.wait())
            while not held.done():
                try:
                    await asyncio.shield(held)
                except asyncio.CancelledError:
                    continue
        case "cleans up for ever":
            try:
                await forever.wait()
            finally:
                with anyio.CancelScope(shield=True):
                    await forever.wait()
        case _:
            raise ValueError(how)
    return "it ended"


@mcp.tool()
async def plain(how: str, name: str) -> str:
    """Resist, on the shortest way."""
    return await resist(how, name)


@mcp.tool()
async def with_context(how: str, name: str, ctx: Context) -> str:
    """Resist, on the SDK's way, with a stream."""
    await ctx.report_progress(1)
    return await resist(how, name)

"""A server whose handlers raise what is no `Exception`, each in a way of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp.server.context import CallNext, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolRequestParams

RAISED: dict[str, Callable[[], BaseException]] = {
    "runtime": lambda: RuntimeError("a secret"),
    "recursion": lambda: RecursionError("a secret"),
    "exit": lambda: SystemExit("a secret"),
    "interrupt": lambda: KeyboardInterrupt("a secret"),
    "generator": lambda: GeneratorExit("a secret"),
    "base": lambda: BaseException("a secret"),
    "cancelled": lambda: asyncio.CancelledError("a secret"),
    "group": lambda: BaseExceptionGroup("a secret", [SystemExit(3), ValueError("a secret")]),
}


async def _raise(what: str) -> None:
    raise RAISED[what]()


async def _in_own_frame(what: str) -> None:
    await _raise(what)


async def _in_own_task(what: str) -> None:
    await asyncio.create_task(_raise(what))


async def _in_task_group(what: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_raise(what))
        await anyio.sleep_forever()


async def _in_anyio_group(what: str) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_raise, what)


async def _in_thread(what: str) -> None:
    def work() -> None:
        raise RAISED[what]()

    await anyio.to_thread.run_sync(work)


WAYS: dict[str, Callable[[str], Awaitable[None]]] = {
    "frame": _in_own_frame,
    "task": _in_own_task,
    "task-group": _in_task_group,
    "anyio-group": _in_anyio_group,
    "thread": _in_thread,
}


def high_level() -> MCPServer[Any]:
    mcp: MCPServer[Any] = MCPServer("raising", version="1")

    @mcp.tool()
    async def plain(way: str, what: str) -> str:
        await WAYS[way](what)
        return "unharmed"

    @mcp.tool()
    def sync(what: str) -> str:
        raise RAISED[what]()

    @mcp.tool()
    async def with_context(way: str, what: str, ctx: Context[Any, Any]) -> str:
        await WAYS[way](what)
        return str(ctx.request_id)

    @mcp.tool()
    async def after_progress(way: str, what: str, ctx: Context[Any, Any]) -> str:
        await ctx.report_progress(1, 2)
        await WAYS[way](what)
        return "unharmed"

    @mcp.tool()
    async def add(a: int, b: int) -> int:
        return a + b

    @mcp.resource("raising://{what}")
    async def resource(what: str) -> str:
        raise RAISED[what]()

    @mcp.prompt()
    async def prompt(what: str) -> str:
        raise RAISED[what]()

    @mcp.completion()
    async def complete(ref: Any, argument: Any, context: Any) -> Any:
        raise RAISED[argument.value]()

    return mcp


def low_level() -> Server[Any]:
    """Each tool is named after what it raises."""

    async def call(ctx: Any, params: CallToolRequestParams) -> Any:
        raise RAISED[params.name]()

    return Server("raising", on_call_tool=call)


class Middleware:
    """The team's own, which raises after the handler has run."""

    def __init__(self, what: str) -> None:
        self.what = what

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> Any:
        result = await call_next(ctx)
        if ctx.method == "tools/call":
            raise RAISED[self.what]()
        return result

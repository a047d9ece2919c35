"""The whole application in this process, with a server whose tools wait for the test."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from moorage.app import MoorageApp, create_app
from moorage.settings import Settings
from tests.comparison.wire import Exchange, Request, lifespan


class Ship(BaseModel):
    """What the user is asked for."""

    name: str


MODERN = "2026-07-28"
LEGACY = "2025-11-25"
META = {
    "progressToken": "progress",
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
HEAD = {"host": "localhost", "accept": "application/json, text/event-stream", "content-type": "application/json"}


@dataclass
class Harbour:
    """The application and the means to talk to it."""

    app: MoorageApp
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    background: asyncio.Task[Any] | None = None

    def open(self, method: str = "POST", headers: Mapping[str, str | None] | None = None, body: Any = b"", *more: bytes) -> Exchange:
        """Begin one exchange."""
        given = {name: value for name, value in {**HEAD, **(headers or {})}.items() if value is not None}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Exchange(
            self.app, Request(method, "/mcp", tuple((name.encode(), value.encode()) for name, value in given.items()), (raw, *more))
        )

    async def ask(self, method: str = "POST", headers: Mapping[str, str | None] | None = None, body: Any = b"") -> Exchange:
        """One exchange to its end."""
        exchange = self.open(method, headers, body)
        await exchange.finished()
        return exchange

    def modern(self, name: str, headers: Mapping[str, str | None] | None = None, method: str = "tools/call", **params: Any) -> Exchange:
        """Begin a modern request."""
        routing = {"mcp-protocol-version": MODERN, "mcp-method": method, **({"mcp-name": name} if method == "tools/call" else {})}
        named = {"name": name, "arguments": {}} if method == "tools/call" else {}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": META, **named, **params}}
        return self.open("POST", {**routing, **(headers or {})}, body)

    async def session(self, headers: Mapping[str, str | None] | None = None) -> Exchange:
        """Open a session of the handshake era; the answer has its id."""
        params = {
            "protocolVersion": LEGACY,
            "capabilities": {"elicitation": {}, "roots": {}},
            "clientInfo": {"name": "test", "version": "1"},
        }
        return await self.ask("POST", headers, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})

    def legacy(self, session: str, message: Mapping[str, Any], headers: Mapping[str, str | None] | None = None) -> Exchange:
        """Begin a POST within a session."""
        return self.open("POST", {"mcp-session-id": session, **(headers or {})}, {"jsonrpc": "2.0", **message})


def header(exchange: Exchange, name: str) -> str | None:
    """A header of an answer."""
    return next((value.decode() for key, value in exchange.headers if key == name.encode()), None)


def error(exchange: Exchange) -> tuple[int | None, int, str]:
    """Status, code and message of a refusal."""
    body = json.loads(exchange.body)
    return exchange.status, body["error"]["code"], body["error"]["message"]


Start = Callable[..., Awaitable[Harbour]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def start(anyio_backend: str) -> Any:
    async with AsyncExitStack() as stack:

        async def begin(**sections: Mapping[str, Any]) -> Harbour:
            server = MCPServer("harbour", version="1")
            settings = Settings.model_validate({"admin": {"port": 0}, "logs": {"level": "error"}, **sections})
            harbour = Harbour(create_app(settings, server))
            _tools(server, harbour)
            await stack.enter_async_context(lifespan(harbour.app))
            return harbour

        yield begin


def _tools(server: MCPServer[Any], harbour: Harbour) -> None:
    @server.tool()
    async def quick() -> str:
        return "done"

    @server.tool()
    async def steps(ctx: Context[Any, Any]) -> str:
        for step in range(3):
            await ctx.report_progress(step, 3)
        return "done"

    @server.tool()
    async def chatter(kind: str, times: int, ctx: Context[Any, Any]) -> int:
        """Say so many things; returns how many turns of the loop others had meanwhile."""
        turns, over = 0, False

        async def other() -> None:
            nonlocal turns
            while not over:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        for number in range(times):
            if kind == "log":
                with warnings.catch_warnings(action="ignore"):  # deprecated, and used by most servers
                    await ctx.info("word")
            elif kind == "progress":
                await ctx.report_progress(number, times)
            else:
                await ctx.request_context.session.send_tool_list_changed()
        over = True
        await beside
        return turns

    @server.tool()
    async def chorus(kind: str, voices: int, ctx: Context[Any, Any]) -> str:
        """Say something from several tasks at once, each its number."""
        with warnings.catch_warnings(action="ignore"):
            async with asyncio.TaskGroup() as tasks:
                for number in range(voices):
                    tasks.create_task(ctx.info(str(number)) if kind == "log" else ctx.report_progress(number, voices))
        return "sung"

    @server.tool()
    async def hasty(ctx: Context[Any, Any]) -> str:
        harbour.background = asyncio.create_task(ctx.report_progress(1, 2))
        await asyncio.sleep(0)
        return "done"

    @server.tool()
    async def wait() -> str:
        harbour.arrived.set()
        await harbour.release.wait()
        return "released"

    @server.tool()
    async def berth(ctx: Context[Any, Any]) -> str:
        answer = await ctx.elicit("Which ship?", Ship)
        return answer.data.name if answer.action == "accept" else answer.action

    @server.tool()
    async def berth_later(ctx: Context[Any, Any]) -> str:
        """Ask in a task that outlives the call."""
        harbour.background = asyncio.create_task(ctx.elicit("Which ship?", Ship))
        await harbour.release.wait()
        return "asked"

    @server.tool()
    async def berth_at_last(ctx: Context[Any, Any]) -> str:
        """Ask in a clean-up that no cancellation reaches."""
        try:
            await harbour.release.wait()
        finally:
            with anyio.CancelScope(shield=True):
                asked = harbour.background = asyncio.create_task(ctx.elicit("Which ship?", Ship))
                await asyncio.wait({asked})
        return "asked"

    @server.tool()
    async def announce(times: int, ctx: Context[Any, Any]) -> str:
        for _ in range(times):
            await ctx.request_context.session.send_tool_list_changed()
        return "announced"

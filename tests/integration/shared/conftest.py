"""Replicas in this process that share a real Redis, with tools that wait for the test."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import anyio
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from pydantic import BaseModel

from moorage.app import MoorageApp, create_app
from moorage.protocol.service import McpService
from moorage.settings import Settings
from tests.comparison.wire import Exchange, Request, lifespan
from tests.services import Redis, sealing_key

HEAD = {"host": "localhost", "accept": "application/json, text/event-stream", "content-type": "application/json"}
REVISION = "2025-11-25"


class Ship(BaseModel):
    """What the user is asked for."""

    name: str


@dataclass
class Replica:
    """One application, and what its tools have seen and wait for."""

    app: MoorageApp
    server: MCPServer[Any]
    release: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    runs: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])
    left_behind: asyncio.Task[str] | None = None

    @property
    def service(self) -> McpService:
        return self.app.state.service

    def open(self, method: str, headers: Mapping[str, str], body: Any = b"") -> Exchange:
        """Begin one exchange."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        pairs = tuple((name.encode(), value.encode()) for name, value in {**HEAD, **headers}.items())
        return Exchange(self.app, Request(method, "/mcp", pairs, (raw,)))

    async def begin(self, revision: str = REVISION) -> str:
        """Open a session and return its id."""
        params = {"protocolVersion": revision, "capabilities": {"elicitation": {}}, "clientInfo": {"name": "test", "version": "1"}}
        opening = self.open("POST", {}, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        await opening.finished()
        assert opening.status == 200, opening.body
        return next(value.decode() for name, value in opening.headers if name == b"mcp-session-id")

    def post(self, session: str, **message: Any) -> Exchange:
        """Begin a POST within a session."""
        return self.open("POST", {"mcp-session-id": session}, {"jsonrpc": "2.0", **message})

    def call(self, session: str, tool: str, request_id: Any = 1) -> Exchange:
        """Begin a call of a tool."""
        params = {"name": tool, "arguments": {}, "_meta": {"progressToken": "p"}}
        return self.post(session, id=request_id, method="tools/call", params=params)

    def listen(self, session: str, last_event_id: str = "") -> Exchange:
        """Begin a GET stream."""
        position = {"last-event-id": last_event_id} if last_event_id else {}
        return self.open("GET", {"mcp-session-id": session, **position})


def events(exchange: Exchange) -> list[tuple[str, Any]]:
    """Id and message of every event of a stream so far."""
    found: list[tuple[str, Any]] = []
    for block in exchange.body.decode().replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":") and ": " in line)
        if "id" in fields or "data" in fields:
            found.append((fields.get("id", ""), json.loads(fields["data"]) if fields.get("data", "").strip() else None))
    return found


async def until(exchange: Exchange, ready: Callable[[Exchange], object]) -> None:
    """Read a stream until something holds."""
    while not ready(exchange):
        assert await exchange.next_chunk() is not None or ready(exchange), f"the stream ended: {exchange.body!r}"


async def holds(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for something that has no event to wait on."""
    with anyio.fail_after(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def lose(replica: Replica) -> None:
    """Have a replica lose its sessions as if it had been out of touch with the store for a lease, and its door with them."""
    owner: Any = replica.service.replication.owner  # type: ignore[union-attr]
    owner._lapse()  # it comes back under a new id with its next beat


async def ping(replica: Replica, session: str) -> int | None:
    ping = replica.post(session, id="ping", method="ping")
    await ping.finished()
    return ping.status


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as it:
        yield it


@pytest.fixture(params=["alone", "shared"])
def store(request: pytest.FixtureRequest, redis: Redis) -> Mapping[str, Any] | None:
    return {"url": redis.url, "prefix": uuid4().hex[:8]} if request.param == "shared" else None


Start = Callable[..., Awaitable[Replica]]


@pytest.fixture
async def start(anyio_backend: str, redis: Redis) -> AsyncIterator[Start]:
    """Starts replicas of one deployment."""
    keys, prefix = sealing_key(), uuid4().hex[:8]
    async with AsyncExitStack() as stack:

        async def begin(**sections: Mapping[str, Any]) -> Replica:
            base: dict[str, dict[str, Any]] = {
                "admin": {"port": 0},
                "relay": {"port": 0},
                "logs": {"level": "error"},
                "security": {"sealing_keys": keys},
                "store": {"url": redis.url, "prefix": prefix},
            }
            merged = {name: {**base.get(name, {}), **sections.get(name, {})} for name in {*base, *sections}}
            server = MCPServer("harbour", version="1")
            replica = Replica(create_app(Settings.model_validate(merged), server), server)
            _tools(server, replica)
            await stack.enter_async_context(lifespan(replica.app))
            return replica

        yield begin


def _tools(server: MCPServer[Any], replica: Replica) -> None:
    async def work(name: str, ctx: Context[Any, Any]) -> str:
        replica.runs[name] += 1
        await ctx.report_progress(replica.runs[name], 10)
        replica.arrived.set()
        await replica.release.wait()
        return "done"

    @server.tool()
    async def once(ctx: Context[Any, Any]) -> str:
        return await work("once", ctx)

    @server.tool(annotations=ToolAnnotations(idempotent_hint=True))
    async def again(ctx: Context[Any, Any]) -> str:
        return await work("again", ctx)

    @server.tool()
    async def silent() -> str:
        replica.arrived.set()
        await replica.release.wait()
        return "done"

    @server.tool()
    async def asks_later(ctx: Context[Any, Any]) -> str:
        await ctx.report_progress(1, 2)
        await replica.release.wait()
        return await asks(ctx)

    @server.tool()
    async def asks(ctx: Context[Any, Any]) -> str:
        replica.arrived.set()
        try:
            await ctx.elicit("Which ship?", Ship)
        except Exception as error:
            replica.failures.append(str(error))
            return "unanswered"
        return "answered"

    @server.tool()
    async def leaves_asking(ctx: Context[Any, Any]) -> str:
        replica.left_behind = asyncio.create_task(asks(ctx))
        while not replica.service.budgets.questions.total:
            await asyncio.sleep(0)
        return "left"

    @server.tool()
    async def reports(ctx: Context[Any, Any]) -> str:
        for step in range(1, 1000):
            replica.runs["reports"] += 1
            await ctx.report_progress(step, 1000)
        return "done"

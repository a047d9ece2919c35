"""What the fault matrix injects, and how it looks at what came of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import Context, MCPServer

import moorage.app
from moorage.app import MoorageApp, create_app
from moorage.settings import Settings
from tests.comparison.wire import Exchange, lifespan
from tests.services import sealing_key
from tests.unit.edge.conftest import Harbour, header

FAULTS_OF: dict[str, Callable[[], BaseException]] = {
    "RuntimeError": lambda: RuntimeError("injected"),
    "RecursionError": lambda: RecursionError("injected"),
    "SystemExit": lambda: SystemExit(3),
}


@asynccontextmanager
async def serving(store: Mapping[str, Any] | None) -> AsyncIterator[Harbour]:
    server = MCPServer("harbour", version="1")
    base: dict[str, Any] = {"admin": {"port": 0}, "relay": {"port": 0}, "logs": {"level": "error"}, "http": {"ping_seconds": 1}}
    if store is not None:
        base |= {"store": store, "security": {"sealing_keys": sealing_key()}}
    harbour = Harbour(create_app(Settings.model_validate(base), server))
    release = harbour.release

    @server.tool()
    async def wait(ctx: Context[Any, Any]) -> str:
        harbour.arrived.set()
        await release.wait()
        return str(ctx.request_id)

    @server.tool()
    async def reports(ctx: Context[Any, Any]) -> str:
        await ctx.report_progress(1, 2)
        harbour.arrived.set()
        await release.wait()
        return "done"

    @server.tool()
    async def resists() -> str:
        with anyio.CancelScope(shield=True):
            harbour.arrived.set()
            await release.wait()
        return "late"

    @server.tool()
    async def fails() -> str:
        raise ValueError("refused")

    @server.tool()
    async def quick() -> str:
        return "done"

    async with lifespan(harbour.app):
        yield harbour


def raise_once(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, make: Callable[[], BaseException]) -> None:
    """Have a coroutine function raise when it is called for the first time."""
    original, raised = getattr(where, name), []

    async def once(*args: Any, **kwargs: Any) -> Any:
        if not raised:
            raised.append(1)
            raise make()
        return await original(*args, **kwargs)

    monkeypatch.setattr(where, name, once)


async def last_message(exchange: Exchange) -> dict[str, Any]:
    """The last message of a response that has ended."""
    with anyio.fail_after(15):
        await exchange.finished()
    text = exchange.body.decode()
    if text.startswith("{"):
        return json.loads(text)
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:") and line[5:].strip()][-1]


async def begin(harbour: Harbour, era: str, tool: str, session: str | None = None) -> Exchange:
    """Begin a call, under the id 1; in the handshake era in this session, or in a new one."""
    if era == "modern":
        return harbour.modern(tool)
    name = session or await open_session(harbour)
    params = {"name": tool, "arguments": {}, "_meta": {"progressToken": "p"}}
    return harbour.legacy(name, {"id": 1, "method": "tools/call", "params": params})


async def open_session(harbour: Harbour) -> str:
    """Open a session; returns its id."""
    session = header(await harbour.session(), "mcp-session-id")
    assert session is not None
    return session


async def assert_serves(harbour: Harbour) -> None:
    for era in ("modern", "legacy"):
        message = await last_message(await begin(harbour, era, "quick"))
        assert message["result"]["content"][0]["text"] == "done"


def told_by_readiness(app: MoorageApp) -> str:
    return moorage.app._notes(app)["background"]() or ""


def counted(app: MoorageApp, name: str) -> int:
    text = app.state.telemetry.render_metrics()[1].decode()
    line = next(line for line in text.splitlines() if line.startswith(f'moorage_background_faults_total{{moorage_task="{name}"}}'))
    return int(float(line.split()[1]))


def raise_once_static(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, make: Callable[[], BaseException]) -> None:
    """The same, for what is looked up on an instance: a static method stays one."""
    static = isinstance(vars(where)[name], staticmethod)
    raise_once(monkeypatch, where, name, make)
    if static:
        monkeypatch.setattr(where, name, staticmethod(getattr(where, name)))

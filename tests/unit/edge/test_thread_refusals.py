"""A plain function that finds no thread is refused in its era's way, whichever path its call takes."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.server.mcpserver import Context, MCPServer

from moorage.app import create_app
from moorage.settings import Settings
from tests.comparison.wire import Request, lifespan, play
from tests.unit.edge.conftest import HEAD, LEGACY, META, MODERN, Harbour, header

pytestmark = pytest.mark.anyio

REFUSED = {
    "code": -32012,
    "message": "Too many calls of plain functions in this process: try again soon",
    "data": {"reason": "threads_limit", "retryAfterSeconds": 1},
}
KINDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "tool": ("tools/call", {"name": "plain", "arguments": {}}),
    "context tool": ("tools/call", {"name": "talkative", "arguments": {}}),
    "prompt": ("prompts/get", {"name": "ask", "arguments": {}}),
    "resource": ("resources/read", {"uri": "berth://one"}),
}


@asynccontextmanager
async def full(**http: Any) -> AsyncGenerator[Harbour, None]:
    """A server whose only thread is busy until the block ends."""
    server, busy, go_on = MCPServer("plain", version="1"), threading.Event(), threading.Event()

    @server.tool()
    def hang() -> str:
        busy.set()
        go_on.wait()
        return "done"

    @server.tool()
    def plain() -> str:
        return "ran"

    @server.tool()
    def talkative(ctx: Context[Any, Any]) -> str:
        return f"ran {ctx.request_id}"

    @server.prompt()
    def ask() -> str:
        return "ran"

    @server.resource("berth://{name}")
    def berth(name: str) -> str:
        return f"ran {name}"

    given = {"admin": {"port": 0}, "logs": {"level": "error"}, "calls": {"threads": 1, "thread_queue": 0}, "http": http}
    harbour = Harbour(create_app(Settings.model_validate(given), server))
    async with lifespan(harbour.app):
        hung = harbour.modern("hang")
        try:
            while not busy.is_set():
                await harbour.ask("GET")  # turns the loop
            yield harbour
        finally:
            go_on.set()
        await hung.finished()
        assert json.loads(hung.body)["result"]["content"][0]["text"] == "done"


@pytest.mark.parametrize("json_responses", [False, True], ids=["stream", "json"])
@pytest.mark.parametrize("path", ["kernel", "the SDK's endpoint"])
@pytest.mark.parametrize("kind", KINDS)
async def test_in_the_modern_era_with_503_and_retry_after(kind: str, path: str, json_responses: bool) -> None:
    method, params = KINDS[kind]
    name = params.get("name") or params["uri"]
    headers = {**HEAD, "mcp-protocol-version": MODERN, "mcp-method": method, "mcp-name": name}
    twice = [] if path == "kernel" else [("x-twice", "a"), ("x-twice", "b")]  # a field that comes twice is left to the SDK's endpoint
    fields = tuple((field.encode(), value.encode()) for field, value in [*headers.items(), *twice])
    body = {"jsonrpc": "2.0", "id": 5, "method": method, "params": {"_meta": META, **params}}
    async with full(json_responses=json_responses) as harbour:
        exchange = await play(harbour.app, Request("POST", "/mcp", fields, (json.dumps(body).encode(),)))
    assert (exchange.status, header(exchange, "retry-after")) == (503, "1"), exchange.body
    assert json.loads(exchange.body) == {"jsonrpc": "2.0", "id": 5, "error": REFUSED}


@pytest.mark.parametrize("kind", KINDS)
async def test_in_a_session_with_the_error_under_200(kind: str) -> None:
    method, params = KINDS[kind]
    async with full() as harbour:
        session = header(await harbour.session(), "mcp-session-id")
        assert session is not None
        message = {"id": 5, "method": method, "params": params}
        exchange = harbour.legacy(session, message, {"mcp-protocol-version": LEGACY})
        await exchange.finished()
    assert exchange.status == 200
    last = exchange.body.decode().strip().rpartition("data: ")[2]
    assert json.loads(last) == {"jsonrpc": "2.0", "id": 5, "error": REFUSED}

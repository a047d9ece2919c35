"""A process that met ever new clients, each as large as its requests may be, holds little of them and serves the next as well."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import MCPServer

from moorage.app import create_app
from moorage.security.api_keys import stored_line
from moorage.settings import Settings
from tests.comparison.wire import lifespan
from tests.unit.edge.conftest import META, Harbour, Start

pytestmark = pytest.mark.anyio

CLIENTS = 600
TOKEN = "moor_" + "k" * 43
MOST_BYTES = 6 * 1024 * 1024
"""2 MiB of envelopes, half of it each for Host, Origin, Authorization, and what one call leaves until it is collected."""


async def test_clients_that_are_new_each_time_leave_little_behind_in_both_eras(start: Start) -> None:
    origins = {"allowed_origins": ["*"], "allowed_hosts": ["*"]}
    harbour = await start(security={"api_keys": stored_line("ci", TOKEN), **origins})

    def headers(count: int) -> dict[str, str | None]:
        return {
            "host": f"h{count}.example." + "x" * 400,
            "origin": f"https://h{count}.example." + "x" * 400,
            "authorization": "Bearer" + " " * (1 + count % 300) + TOKEN + " " * (count // 300),
            "accept": "application/json, text/event-stream, x/" + f"{count:08}" * 1500,
            "user-agent": f"{count:08}" * 1500,
        }

    def envelope(count: int) -> dict[str, Any]:
        return {**META, "io.modelcontextprotocol/clientInfo": {"name": f"{count:08}" * 490, "version": "1"}}

    async def meet(count: int) -> list[int | None]:
        modern = harbour.modern("quick", headers(count), _meta=envelope(count))
        await modern.finished()
        legacy = await harbour.ask("GET", {**headers(count), "mcp-session-id": f"m1.{count}"})
        return [modern.status, legacy.status]

    tracemalloc.start()
    try:
        assert await meet(0) == [200, 404]
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for count in range(1, CLIENTS):
            assert await meet(count) == [200, 404]
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < MOST_BYTES
    finally:
        tracemalloc.stop()
    assert await meet(CLIENTS) == await meet(CLIENTS) == [200, 404]


async def test_after_more_principals_than_are_remembered_the_next_is_still_made_known_to_tools_once() -> None:
    tokens = [f"moor_{count:043}" for count in range(4_098)]
    server, seen = MCPServer("harbour", version="1"), list[AccessToken | None]()

    @server.tool()
    async def who() -> str:
        seen.append(get_access_token())
        return "seen"

    keys = "\n".join(stored_line(f"p{count}", token) for count, token in enumerate(tokens))
    settings = Settings.model_validate({"admin": {"port": 0}, "logs": {"level": "error"}, "security": {"api_keys": keys}})
    harbour = Harbour(create_app(settings, server))
    async with lifespan(harbour.app):
        for token in tokens[1:]:
            met = await harbour.ask("GET", {"authorization": f"Bearer {token}", "mcp-session-id": "m1.none"})
            assert met.status == 404
        for _ in range(2):
            await harbour.modern("who", {"authorization": f"Bearer {tokens[0]}"}).finished()
    first, second = seen
    assert first is second
    assert first is not None
    assert first.subject == "p0"

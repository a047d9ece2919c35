"""Depth and number of values are bounded before a body is decoded: every POST, both eras, whatever kind of message it is."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest

from tests.unit.edge.conftest import LEGACY, META, MODERN, Harbour, Start, error, header

pytestmark = pytest.mark.anyio

BOUNDS = {"max_json_depth": 20, "max_json_values": 1000}
DEEP = b"[" * 21 + b"]" * 21
MANY = b"[" + b"0," * 1000 + b"0]"
PLACES = {
    "arguments": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"quick","arguments":{"v":%b}}}',
    "meta": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"quick","_meta":{"v":%b}}}',
    "initialize": b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{"experimental":{"v":%b}}}}',
    "notification": b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"v":%b}}',
    "reply": b'{"jsonrpc":"2.0","id":"a-1","error":{"code":1,"message":"","data":%b}}',
    "id": b'{"jsonrpc":"2.0","id":%b,"method":"ping"}',
    "nothing": b"%b",
}


@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize("version", [None, LEGACY, MODERN, "1999-01-01"])
@pytest.mark.parametrize("place", PLACES)
async def test_what_passes_a_bound_is_refused_in_words_before_it_is_decoded(
    start: Start, place: str, version: str | None, session: bool
) -> None:
    harbour = await start(http=BOUNDS)
    headers = {"mcp-protocol-version": version, "mcp-method": "tools/call", "mcp-name": "quick"}
    if session:
        headers["mcp-session-id"] = header(await harbour.session(), "mcp-session-id")
    for value, setting, bound in ((DEEP, "http.max_json_depth", "20"), (MANY, "http.max_json_values", "1000")):
        status, code, message = error(await harbour.ask("POST", headers, PLACES[place] % value))
        assert (status, code) == (400, -32600)
        assert setting in message
        assert bound in message


async def test_what_is_just_within_the_bounds_is_served_in_both_eras(start: Start) -> None:
    harbour = await start(http=BOUNDS)
    inner: Any = 0
    for _ in range(16):
        inner = [inner]
    arguments = {"deep": inner, "many": [0] * 900, "large": '[{,"\\' * 10_000}
    modern = harbour.modern("quick", arguments=arguments)
    await modern.finished()
    assert json.loads(modern.body)["result"]["content"][0]["text"] == "done"
    session = header(await harbour.session(), "mcp-session-id") or ""
    legacy = harbour.legacy(session, {"id": 2, "method": "tools/call", "params": {"name": "quick", "arguments": arguments, "_meta": {}}})
    await legacy.finished()
    assert json.loads(legacy.body)["result"]["content"][0]["text"] == "done"


@pytest.mark.parametrize("depth", [99, 101])
async def test_the_default_depth_is_below_what_the_models_behind_it_can_read(start: Start, depth: int) -> None:
    harbour = await start()
    value = b"[" * (depth - 3) + b"]" * (depth - 3)
    meta = json.dumps(META).encode()[:-1]
    for version in (LEGACY, MODERN):
        session = header(await harbour.session(), "mcp-session-id") if version == LEGACY else None
        headers = {"mcp-protocol-version": version, "mcp-method": "tools/call", "mcp-name": "quick", "mcp-session-id": session}
        body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"quick","arguments":{},"_meta":%b,"v":%b}}}' % (meta, value)
        exchange = await harbour.ask("POST", headers, body)
        assert exchange.status == (200 if depth < 100 else 400)


async def test_the_cycle_collector_runs_again_after_a_large_body(start: Start) -> None:
    harbour = await start()
    exchange = harbour.modern("quick", {"mcp-method": "made/up"}, arguments={"v": [[]] * 5000})
    await exchange.finished()
    assert gc.isenabled()
    exchange = harbour.modern("quick", arguments={"v": [[]] * 5000})
    await exchange.finished()
    assert gc.isenabled()


async def ask_with_every_method(harbour: Harbour, body: bytes) -> list[int | None]:
    return [(await harbour.ask(method, {"mcp-session-id": "m1.x"}, body)).status for method in ("GET", "DELETE", "PUT", "POST")]


async def test_only_posts_have_a_body_that_is_read(start: Start) -> None:
    harbour = await start()
    assert await ask_with_every_method(harbour, b"[" * 1000) == [404, 404, 405, 400]

"""How long the event loop stands still for the worst bodies that are let in: `python -m bench.decoding`.

The whole application in this process, both eras; each body has as many values, keys, levels or bytes as the defaults allow, and is an
argument of a tool, so that everything that reads a body reads it. The pause is the longest time between two turns of the loop while the
exchange is served, in CPU time of its thread: what else runs on the machine is not in it. Of several rounds the median is printed. Above
50 ms the program ends with 1.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent, Tool

from moorage.app import MoorageApp, create_app
from moorage.settings import Settings
from tests.comparison.wire import Exchange, Request, lifespan

BAR_MS = 50.0
ROUNDS = 7
MODERN, LEGACY = "2026-07-28", "2025-11-25"
DEFAULTS = Settings().http
BYTES, VALUES, DEPTH = DEFAULTS.max_body_bytes - 1024, DEFAULTS.max_json_values - 50, DEFAULTS.max_json_depth - 5
HEAD = {"host": "localhost", "accept": "application/json, text/event-stream", "content-type": "application/json"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}


def filled(unit: bytes, values_each: int = 1) -> bytes:
    """An array of one value over and over, as long as it may be."""
    return b"[" + b",".join([unit] * min(VALUES // values_each, BYTES // (len(unit) + 1))) + b"]"


def shapes() -> dict[str, bytes]:
    """The worst allowed bodies of each kind."""
    tower = b"[" * (DEPTH - 1) + b"]" * (DEPTH - 1)
    return {
        "small integers": filled(b"1"),
        "integers of 30 digits": filled(b"9" * 30),
        "floats": filled(b"1.2345678901234567"),
        "floats with exponents": filled(b"1.2345678901234567e-300"),
        "short strings": filled(b'"ab"'),
        "strings of delimiters": filled(b'"' + b",[{" * 12 + b'"'),
        "empty objects": filled(b"{}", 2),
        "empty arrays": filled(b"[]", 2),
        "arrays of one array": filled(b"[[]]", 3),
        "objects of one key": filled(b'{"a":1}', 2),
        "keys": b"{" + b",".join(b'"%d":"%d"' % (n, n) for n in range(VALUES - 1)) + b"}",
        "towers as deep as allowed": filled(tower, DEPTH),
        "one big string": b'"' + b"A" * BYTES + b'"',
        "one string of escaped quotes": b'"' + b'\\"' * (BYTES // 2) + b'"',
        "one string of escaped characters": b'"' + b"\\u00e9" * (BYTES // 6) + b'"',
        "refused: 4 MiB of empty arrays": b"[" + b"[]," * (BYTES // 3) + b"[]]",
        "refused: 4 MiB of short strings": b"[" + b'"",' * (BYTES // 3) + b'""]',
        "refused: 4 MiB of escapes and brackets": b"[" + b'"\\"[",' * (BYTES // 6) + b"0]",
    }


def high_level() -> MCPServer[Any]:
    """A server of the SDK's upper half, whose tool takes anything."""
    server = MCPServer("bench")

    @server.tool()
    async def take(value: Any) -> str:
        del value
        return "taken"

    return server


def low_level() -> Server[Any]:
    """A server of the lower half: its calls go through the SDK's own endpoint."""

    async def tools(ctx: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[Tool(name="take", input_schema={"type": "object"})])

    async def call(ctx: Any, params: CallToolRequestParams) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text="taken")])

    return Server("bench", on_list_tools=tools, on_call_tool=call)


async def exchange(app: MoorageApp, headers: Mapping[str, str], body: bytes) -> tuple[Exchange, float]:
    """One exchange, and the longest time between two turns of the loop in it, in milliseconds."""
    loop, longest, last = asyncio.get_running_loop(), 0.0, time.thread_time()
    done = False

    def turn() -> None:
        nonlocal longest, last
        now = time.thread_time()
        longest, last = max(longest, now - last), now
        if not done:
            loop.call_soon(turn)

    loop.call_soon(turn)
    fields = tuple((name.encode(), value.encode()) for name, value in {**HEAD, **headers}.items())
    served = Exchange(app, Request("POST", "/mcp", fields, (body,)))
    await served.finished()
    turn()
    done = True
    return served, longest * 1000


async def legacy_headers(app: MoorageApp) -> dict[str, str]:
    """Of a session."""
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    opening = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).encode()
    opened, _ = await exchange(app, {}, opening)
    return {"mcp-session-id": next(value.decode() for name, value in opened.headers if name == b"mcp-session-id")}


async def measure(server: MCPServer[Any] | Server[Any], *, modern: bool) -> dict[str, float]:
    """The median pause of every shape."""
    settings = Settings.model_validate({"admin": {"port": 0}, "logs": {"level": "error"}})
    app = create_app(settings, server)
    call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"take","arguments":{"value":%b},"_meta":%b}}'
    meta, found = json.dumps(META).encode() if modern else b"{}", {}
    async with lifespan(app):
        routing = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "take"}
        headers = routing if modern else await legacy_headers(app)
        for name, value in shapes().items():
            pauses: list[float] = []
            for _ in range(ROUNDS):
                served, pause = await exchange(app, headers, call % (value, meta))
                expected = b'"error"' if name.startswith("refused") else b"taken"
                if expected not in served.body:
                    raise SystemExit(f"{name}: {served.status} {served.body[:200]!r}")
                pauses.append(pause)
            found[name] = statistics.median(pauses)
    return found


async def main() -> int:
    """Print the table."""
    columns = {
        "modern": await measure(high_level(), modern=True),
        "modern, low-level server": await measure(low_level(), modern=True),
        "handshake": await measure(high_level(), modern=False),
        "handshake, low-level server": await measure(low_level(), modern=False),
    }
    print(f"longest pause of the loop in ms; {VALUES} values, {BYTES} bytes, {DEPTH} levels; bar {BAR_MS:.0f} ms")
    print(f"{'':42}" + "".join(f"{name:>30}" for name in columns))
    for shape in shapes():
        print(f"{shape:42}" + "".join(f"{column[shape]:30.1f}" for column in columns.values()))
    worst = max(max(column.values()) for column in columns.values())
    print(f"longest: {worst:.1f} ms")
    return int(worst > BAR_MS)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

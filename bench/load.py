"""Closed-loop HTTP/1.1 load over keep-alive connections: every connection sends its next request when it has its answer."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Final

MODERN: Final = "2026-07-28"


@dataclass(frozen=True, slots=True)
class Load:
    """How much was answered, and in how many seconds."""

    calls: int
    seconds: float


def modern_call(port: int, token: str | None = None) -> bytes:
    """A modern `tools/call` of `add`, as bytes for the wire."""
    prefix = "io.modelcontextprotocol/"
    meta = {prefix + "protocolVersion": MODERN, prefix + "clientCapabilities": {}, prefix + "clientInfo": {"name": "bench", "version": "1"}}
    params = {"_meta": meta, "name": "add", "arguments": {"a": 1, "b": 2}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    head = [
        "POST /mcp HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "User-Agent: bench/1",
        "Accept: application/json, text/event-stream",
        "Content-Type: application/json",
        f"MCP-Protocol-Version: {MODERN}",
        "Mcp-Method: tools/call",
        "Mcp-Name: add",
        f"Content-Length: {len(body)}",
    ]
    if token is not None:
        head.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*head, "", ""]).encode() + body


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, left: list[int], done: asyncio.Event, open_connections: list[int]) -> None:
        self._request = request
        self._left = left
        self._done = done
        self._open = open_connections
        self._buffer = b""
        self.failure: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._next()

    def _next(self) -> None:
        if self._left[0] <= 0:
            self._transport.close()
            return
        self._left[0] -= 1
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = head.find(b"content-length:")
        if not head.startswith(b"http/1.1 200") or length < 0:
            self.failure = self._buffer.decode("latin-1")[:500]
            self._left[0] = 0
            self._transport.close()
            return
        size = end + 4 + int(head[length + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) >= size:
            self._buffer = self._buffer[size:]
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open[0] -= 1
        if self._open[0] == 0:
            self._done.set()


async def run(port: int, request: bytes, calls: int, connections: int = 32) -> Load:
    """Send `calls` requests over `connections` connections.

    Raises:
        RuntimeError: an answer was not 200 with a length; it is quoted.
    """
    left, still_open, done = [calls], [connections], asyncio.Event()
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    made = [
        (await loop.create_connection(lambda: _Connection(request, left, done, still_open), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    async with asyncio.timeout(120):
        await done.wait()
    for connection in made:
        if connection.failure is not None:
            raise RuntimeError(f"a server under test answered: {connection.failure}")
    return Load(calls, time.perf_counter() - begun)

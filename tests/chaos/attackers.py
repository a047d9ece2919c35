"""What a client does that wants to starve the others: raw connections, bounded in number and time, to the replica under test alone."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from tests.chaos.neighbour import begin_session
from tests.chaos.run import TENANTS, Run
from tests.chaos.wire import BROKEN, Address, Exchange, request

MODERN: Final = "2026-07-28"
ACCEPT: Final = "application/json, text/event-stream"
_META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "attacker", "version": "1"},
}
_CHUNK: Final = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
_BROKEN: Final = (*BROKEN, ConnectionError)


@dataclass(slots=True)
class Attacker:
    """One tenant's attack on one replica.

    Attributes:
        address: Of the replica.
        key: The tenant's.
        random: Spreads what would else come in one burst.
        most_bytes: The most that one connection was let send before it was closed.
        begun: How many bodies without an end it has begun to send.
        closed: How many connections the server has closed.
        refused: How many requests it has refused for the moment.
        odd: What came back that no client can use.
    """

    address: Address
    key: str
    random: Random
    most_bytes: int = 0
    begun: int = 0
    closed: int = 0
    refused: int = 0
    odd: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, run: Run) -> Attacker:
        """The first tenant, against the first replica."""
        return cls(run.stage.address(0), run.stage.keys[TENANTS[0]], run.random)

    @property
    def headers(self) -> dict[str, str]:
        """Of a request with the tenant's key."""
        return {"accept": ACCEPT, "authorization": f"Bearer {self.key}"}

    def modern(self, tool: str, **arguments: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """Headers and body of a modern call that wants progress."""
        headers = {**self.headers, "mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": tool}
        params = {"name": tool, "arguments": arguments, "_meta": {**_META, "progressToken": "p"}}
        return headers, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}

    def legacy(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Body of a call within a session that wants progress."""
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}}
        return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}

    async def session(self) -> dict[str, str]:
        """The headers of a session of its own."""
        return await begin_session(self.address, self.key)

    async def unread(self, headers: dict[str, str], message: Any) -> Exchange:
        """Ask for something, and read nothing of it but the head."""
        exchange = await request(self.address, "POST", headers, message, small_buffer=True)
        exchange.leave_unread()
        return exchange

    async def raw(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection and send these bytes."""
        connection = socket.socket()
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, self.address)
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(data)
        return reader, writer

    def head(self, method: str, path: str, *fields: str) -> bytes:
        """The head of a request; fields are whole lines."""
        return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {self.address.host}:{self.address.port}", *fields, "", ""]).encode()

    async def endless(self, method: str, path: str, *fields: str) -> None:
        """Send a chunked body that never ends, as fast as it is taken, and again on a new connection when that was closed."""
        while True:
            sent = 0
            try:
                _, writer = await self.raw(self.head(method, path, "Transfer-Encoding: chunked", *fields))
                self.begun += 1
                with _aborting(writer):
                    while not writer.transport.is_closing():
                        writer.write(_CHUNK)
                        await writer.drain()
                        sent += len(_CHUNK)
                        self.most_bytes = max(self.most_bytes, sent)
                        await asyncio.sleep(0.002)
            except _BROKEN:
                pass
            self.closed += 1
            await asyncio.sleep(0.05)

    async def slow_upload(self, declared: int) -> None:
        """Send a body a byte at a time; again when it was refused."""
        while True:
            head = self.head(
                "POST", "/mcp", f"Authorization: Bearer {self.key}", "Content-Type: application/json", f"Content-Length: {declared}"
            )
            with suppress(*_BROKEN):
                _, writer = await self.raw(head)
                self.begun += 1
                with _aborting(writer):
                    while not writer.transport.is_closing():
                        writer.write(b" ")
                        await writer.drain()
                        await asyncio.sleep(0.2)
            self.closed += 1
            await asyncio.sleep(0.2)

    async def held(self, method: str, headers: dict[str, str], message: Any) -> None:
        """Ask for something that takes long and hold it; again when it was refused, or is over."""
        await asyncio.sleep(self.random.uniform(0, 2))
        while True:
            with suppress(*_BROKEN):
                exchange = await request(self.address, method, headers, message, head_seconds=90)
                if "retry-after" in exchange.headers:
                    self.refused += 1
                    exchange.cut()
                else:
                    await exchange.body()
            await asyncio.sleep(self.random.uniform(1, 3))

    async def open_session(self) -> None:
        """Open one session after the other."""
        while True:
            try:
                await self.session()
            except (PermissionError, *_BROKEN):
                self.refused += 1
            await asyncio.sleep(self.random.uniform(1, 3))

    async def odd_body(self, headers: dict[str, str], body: bytes) -> None:
        """Send a body as it is; whatever it is, somebody who reads HTTP and JSON must be able to use the answer."""
        fields = [f"{name}: {value}" for name, value in headers.items()]
        head = self.head("POST", "/mcp", *fields, "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close")
        try:
            reader, writer = await self.raw(head + body)
            with _aborting(writer):
                async with asyncio.timeout(20):
                    answer = await reader.read(-1)
        except _BROKEN as error:
            self.odd.append(f"{type(error).__name__} for {body[:80]!r}")
            return
        if problem := problem_of(answer):
            self.odd.append(f"{problem} for {body[:120]!r}... with {headers.get('mcp-session-id', 'no session')[:12]}")


def problem_of(answer: bytes) -> str | None:
    """What a client of HTTP and JSON could not make use of in an answer; None for nothing."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head[9:12]) if head.startswith(b"HTTP/1.1 ") else 0
    if not status or status == 500:
        return f"status {status}"
    if status in (202, 204):
        return None
    if b"text/event-stream" in head:
        return None if b'"id"' in body or b"id:" in body else "a stream without an event"
    if b"transfer-encoding" in head.lower():
        return None
    try:
        json.loads(body or b"null")
    except ValueError:
        return f"a body that is no JSON: {body[:80]!r}"
    return None


class _aborting:  # noqa: N801 - a context manager that reads as a word
    """Closes a connection at once, whatever is still to be sent."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, *_: object) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def at_once(count: int, work: Callable[[int], Coroutine[Any, Any, None]]) -> AsyncGenerator[None, None]:
    """So many pieces of work beside the block; all of them end with it."""
    tasks = [asyncio.create_task(work(number)) for number in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

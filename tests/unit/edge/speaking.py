"""A small app behind the HTTP protocol, and a client that writes bytes to it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import orjson
import uvicorn

from moorage.edge.http import BoundedProtocol

WHOLE_BYTES = 4 << 20
"""Of an answer that is written at once."""

SMALL_BUFFER = 64 * 1024
"""Bytes of a socket's buffer; the kernel would take megabytes for a client that does not read."""


@dataclass
class App:
    """Answers with what it was sent, when it is let."""

    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        seen: dict[str, Any] = {"path": scope["path"], "headers": [[n.decode(), v.decode()] for n, v in scope["headers"]], "body": ""}
        self.requests.append(seen)
        if scope["path"] in ("/early", "/closing"):
            await self._answer(send, b"early", *([(b"connection", b"close")] if scope["path"] == "/closing" else []))
            return
        if scope["path"] == "/unread":
            await self.go_on.wait()
            await self._answer(send, b"late")
            return
        while (message := await receive())["type"] == "http.request":
            seen["body"] += message["body"].decode()
            if not message["more_body"]:
                break
        else:
            self.disconnected.set()
            await self._answer(send, b"nobody reads this")
            return
        if scope["path"] == "/flood":
            await self._flood(receive, send)
            return
        if scope["path"] == "/whole":
            await self._answer(send, b"x" * WHOLE_BYTES)
            return
        if scope["path"] == "/awaits":
            self.arrived.set()
            if (await receive())["type"] == "http.disconnect":
                self.disconnected.set()
            return
        if scope["path"] == "/slow":
            await self.go_on.wait()
        await self._answer(send, orjson.dumps(seen))

    async def _flood(self, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        if (await receive())["type"] == "http.disconnect":
            self.disconnected.set()

    async def _answer(self, send: Callable[[Any], Awaitable[None]], body: bytes, *fields: tuple[bytes, bytes]) -> None:
        headers = [(b"content-length", str(len(body)).encode()), *fields]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@dataclass
class Peer:
    """A client that writes bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        with anyio.fail_after(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status, *lines = head.decode().strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            return int(status.split(" ")[1]), headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def ended(self) -> bool:
        with anyio.fail_after(5):
            return await self.reader.read(1) == b""


@dataclass
class Served:
    app: App
    port: int

    @asynccontextmanager
    async def connect(self, *, small_buffer: bool = False) -> AsyncIterator[Peer]:
        connection = socket.socket()
        connection.setblocking(False)
        if small_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            yield Peer(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def served(protocol: type[BoundedProtocol], keep_alive_seconds: int = 5) -> AsyncIterator[Served]:
    app = App()
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        port=0,
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    listening = server.servers[0].sockets[0]
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)  # its connections inherit it
    try:
        yield Served(app, listening.getsockname()[1])
    finally:
        await server.shutdown()


def get(*fields: str, target: str = "/", body: str = "") -> bytes:
    lines = [f"GET {target} HTTP/1.1", "host: x", *fields, *([f"content-length: {len(body)}"] if body else [])]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

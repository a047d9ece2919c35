"""Drives an ASGI application in this process the way uvicorn does; owns no opinion about what the application answers.

``receive`` hands out the body in the given pieces, then blocks until the response is complete or the client has left, and only then
says ``http.disconnect``. What is sent after the client left is dropped. Messages out of order are an error of the application.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

Message = MutableMapping[str, Any]
App = Callable[[MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it arrives from the socket."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: tuple[bytes, ...]


class Exchange:
    """A request that is being answered: what arrived so far, and the means to leave."""

    def __init__(self, app: App, request: Request) -> None:
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self._pieces = list(request.body) or [b""]
        self._closed = asyncio.Event()
        self._news = asyncio.Event()
        self._chunks: list[bytes] = []
        self._taken = 0
        self._task = asyncio.create_task(self._drive(app, request))

    async def _drive(self, app: App, request: Request) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
            "scheme": "http",
            "method": request.method,
            "root_path": "",
            "path": request.path,
            "raw_path": request.path.encode(),
            "query_string": b"",
            "headers": list(request.headers),
            "state": {},
        }
        try:
            await app(scope, self._receive, self._send)
        finally:
            self._closed.set()
            self._news.set()

    async def _receive(self) -> Message:
        if self._pieces and not self._closed.is_set():
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}
        await self._closed.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._closed.is_set() and not self.complete:
            return
        if message["type"] == "http.response.start":
            assert self.status is None, "the response was started twice"
            self.status, self.headers = message["status"], list(message.get("headers", ()))
        else:
            assert message["type"] == "http.response.body", f"an unexpected ASGI message: {message['type']}"
            assert self.status is not None, "a body was sent before the response was started"
            assert not self.complete, "a body was sent after the end of the response"
            self._chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                self.complete = True
                self._closed.set()
        self._news.set()

    @property
    def body(self) -> bytes:
        """Everything that arrived so far."""
        return b"".join(self._chunks)

    def leave(self) -> None:
        """Close the connection, as a client that lost interest does."""
        self._closed.set()

    async def started(self) -> int:
        """Wait for the status line."""
        await self._until(lambda: self.status is not None)
        assert self.status is not None, "the application ended without an answer"
        return self.status

    async def next_chunk(self) -> bytes | None:
        """The next piece of the body, or None once the response is over."""
        await self._until(lambda: len(self._chunks) > self._taken)
        if len(self._chunks) == self._taken:
            return None
        self._taken += 1
        return self._chunks[self._taken - 1]

    async def finished(self) -> None:
        """Wait until the application has returned; what it raised is raised here."""
        with anyio.fail_after(PATIENCE_SECONDS):
            await asyncio.shield(self._task)

    async def _until(self, ready: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            while not ready() and not self._task.done():
                self._news.clear()
                await self._news.wait()
        if self._task.done() and (error := self._task.exception()) is not None:
            raise error


async def play(app: App, request: Request) -> Exchange:
    """Play one request to its end."""
    exchange = Exchange(app, request)
    await exchange.finished()
    return exchange


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    """Run the application's lifespan around a block, in a task of its own as uvicorn does."""
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, inbox.get, outbox.put))  # pyright: ignore[reportArgumentType]
    with anyio.fail_after(PATIENCE_SECONDS):
        await inbox.put({"type": "lifespan.startup"})
        up = await outbox.get()
    assert up["type"] == "lifespan.startup.complete", up
    try:
        yield
    finally:
        with anyio.fail_after(PATIENCE_SECONDS):
            await inbox.put({"type": "lifespan.shutdown"})
            down = await outbox.get()
            await task
        assert down["type"] == "lifespan.shutdown.complete", down

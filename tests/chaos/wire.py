"""HTTP/1.1 and Server-Sent Events over one socket, with nothing between a client and its connection.

One connection carries one request. Its owner may cut it, or leave it open and unread; both at any moment, which is what an HTTP library
does not allow.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

HEAD_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 40.0
"""Silence after which a stream counts as broken: a keep-alive is due every 15 seconds."""

BROKEN: Final = (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ValueError)
"""What a connection that fails raises (`ValueError`: what came is not HTTP)."""

_RECEIVE_BUFFER: Final = 4096


class Address(NamedTuple):
    """Where a replica, or whatever stands before it, listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream; a comment has no data and no id."""

    data: str = ""
    event_id: str | None = None
    retry_seconds: float | None = None


@dataclass(slots=True)
class Exchange:
    """An answer that has begun."""

    status: int
    headers: Mapping[str, str]
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    @property
    def streams(self) -> bool:
        """Whether the answer is an event stream."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def body(self) -> bytes:
        """The rest of the answer; the connection is closed then."""
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                return b"".join([chunk async for chunk in self._chunks()])
        finally:
            self.cut()

    async def message(self) -> dict[str, Any]:
        """The rest of the answer as a JSON object; empty if it is none."""
        try:
            decoded = json.loads(await self.body() or b"{}")
        except ValueError:
            return {}
        return decoded if isinstance(decoded, dict) else {}

    async def events(self) -> AsyncGenerator[Event, None]:
        """The events of a stream, and its comments, until it ends as its server wants.

        Raises:
            OSError, EOFError, TimeoutError: The connection failed, or is silent for too long.
        """
        pending = b""
        async for chunk in self._chunks():
            *blocks, pending = (pending + chunk.replace(b"\r\n", b"\n")).split(b"\n\n")
            for block in blocks:
                yield parse_event(block.decode())

    async def _chunks(self) -> AsyncIterator[bytes]:
        length = self.headers.get("content-length")
        if length is not None:
            yield await self._reader.readexactly(int(length))
        elif self.headers.get("transfer-encoding") == "chunked":
            while size := int(await self._line(), 16):
                yield (await self._reader.readexactly(size + 2))[:-2]
            await self._line()
        elif self.status not in (202, 204):
            while chunk := await self._reader.read(65_536):
                yield chunk

    async def _line(self) -> bytes:
        async with asyncio.timeout(SILENCE_SECONDS):
            line = await self._reader.readuntil(b"\n")
        return line.strip()

    def leave_unread(self) -> None:
        """Read no more and keep the socket open, as when a network fails."""
        with contextlib.suppress(RuntimeError):
            self._writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]

    def cut(self) -> None:
        """Close the socket at once."""
        self._writer.transport.abort()


def parse_event(block: str) -> Event:
    """One block of a stream, between two empty lines."""
    data: list[str] = []
    event_id: str | None = None
    retry: float | None = None
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                data.append(value)
            case "id":
                event_id = value
            case "retry":
                retry = int(value) / 1000
            case _:  # a comment, or the event's type
                pass
    return Event("\n".join(data), event_id, retry)


async def request(
    address: Address,
    method: str,
    headers: Mapping[str, str],
    message: Any = None,
    *,
    small_buffer: bool = False,
    head_seconds: float = HEAD_SECONDS,
) -> Exchange:
    """Send one request to `/mcp` and return once the head of its answer is there.

    Raises:
        ConnectionRefusedError: Nobody listens: the request reached no one.
        OSError, EOFError, TimeoutError: The connection failed later.
    """
    connection = socket.socket()
    connection.setblocking(False)
    if small_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    try:
        async with asyncio.timeout(head_seconds):
            await asyncio.get_running_loop().sock_connect(connection, address)
            reader, writer = await asyncio.open_connection(sock=connection, limit=_RECEIVE_BUFFER if small_buffer else 2**16)
    except BaseException:
        connection.close()
        raise
    try:
        body = b"" if message is None else json.dumps(message, separators=(",", ":")).encode()
        writer.write(_head(address, method, headers, len(body) if message is not None else None) + body)
        async with asyncio.timeout(head_seconds):
            head = await reader.readuntil(b"\r\n\r\n")
        status, received = _parse_head(head)
        return Exchange(status, received, reader, writer)
    except BaseException:
        writer.transport.abort()
        raise


def _head(address: Address, method: str, headers: Mapping[str, str], length: int | None) -> bytes:
    lines = [f"{method} /mcp HTTP/1.1", f"host: {address.host}:{address.port}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if length is not None:
        lines += ["content-type: application/json", f"content-length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}

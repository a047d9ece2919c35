"""HTTP/1.1 over one connection, as little of it as a load needs: one request at a time, answers whole or as an open stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

_LAST_CHUNK = b"\r\n0\r\n\r\n"
_WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: Of the response; 0 when the connection ended instead.
        head: The status line and the headers.
        body: As it came: of a chunked one the framing is still in it.
    """

    status: int
    head: bytes
    body: bytes

    @property
    def result(self) -> bool:
        """Whether it holds the result of a call that went well."""
        return self.status == 200 and b'"result"' in self.body and b'"isError":true' not in self.body

    def header(self, name: str) -> str:
        """A header's value; empty when there is none."""
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.strip().lower() == name.encode():
                return value.strip().decode()
        return ""


class Connection(asyncio.Protocol):
    """A connection that sends a request when the answer to the last one is there."""

    __slots__ = ("_answer", "_buffer", "_streams", "_transport")

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[Answer] | None = None
        self._streams = False
        self._transport: asyncio.Transport | None = None

    async def ask(self, request: bytes) -> Answer:
        """Send a request and wait for the whole answer.

        Raises:
            TimeoutError.
        """
        answer = self._answer = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            return Answer(0, b"", b"")
        self._transport.write(request)
        async with asyncio.timeout(_WAIT_SECONDS):
            return await answer

    async def listen(self, request: bytes) -> Answer:
        """Send a request and wait for the head of its stream, which stays open."""
        self._streams = True
        return await self.ask(request)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            return  # a keep-alive of a stream
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if separator and _is_whole(head.lower(), body, streams=self._streams):
            self._buffer = b""
            self._answer.set_result(Answer(int(head[9:12]), head, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(0, b"", b""))


def _is_whole(head: bytes, body: bytes, *, streams: bool) -> bool:
    if b"transfer-encoding: chunked" in head:
        return streams or body.endswith(_LAST_CHUNK) or body == _LAST_CHUNK[2:]
    start = head.find(b"content-length:")
    return start < 0 or len(body) >= int(head[start + 15 :].split(b"\r\n", 1)[0])


async def connect(port: int) -> Connection:
    """Open a connection to a port of the loopback address."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
    return connection

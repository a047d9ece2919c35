"""One HTTP response that reads an event stream: a bounded queue between whoever emits and the exchange that writes.

Emitting never waits: a reader that falls behind its bound is ended, and its client comes back with the last id that it saw. Promises that a
reader which is replaced is gone soon, whether its client reads or not; how long a write may wait is bounded for every connection
(`edge.timed_writes`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from moorage.protocol.encoding import PING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.protocol.exchange import Header, HttpExchange

MOST_BYTES: Final = 256 * 1024
"""Bytes that wait for a client that reads slowly; beside them stand only the connection's own buffers."""

RETRY: Final = b"retry: 1000\r\n\r\n"
"""Tells a client when to come back (milliseconds) after a stream that we end."""

_REPLACED_SECONDS: Final = 1.0


class Reader:
    """Reads one stream for one client.

    Attributes:
        closed: Whether nothing will be written any more.
        ended: Whether what is queued is the last of it.
        aged: Whether it was ended for its age.
    """

    __slots__ = ("_bytes", "_closing", "_queue", "_wake", "aged", "closed", "ended", "http")

    def __init__(self, http: HttpExchange) -> None:
        self.http = http
        self._queue: list[bytes] = []
        self._bytes = 0
        self._wake: asyncio.Future[bool] | None = None
        self._closing: asyncio.Event | None = None
        self.closed = False
        self.ended = False
        self.aged = False

    def put(self, event: bytes) -> None:
        """Queue an event; a reader that is too far behind is ended instead."""
        if self.ended:
            return
        if self._bytes + len(event) > MOST_BYTES and self._queue:
            self.end()
            return
        self._push(event)

    def replay(self, events: Iterable[bytes]) -> None:
        """Queue what a client missed, whatever its size: the log bounds it."""
        for event in events:
            self._push(event)

    def end(self, last: bytes = RETRY) -> None:
        """End after what is queued."""
        if not self.ended:
            self._push(last)
            self.ended = True

    def replace(self) -> None:
        """End in favour of another reader; a client that does not read is cut off."""
        self.end()
        if not self.closed:
            asyncio.get_running_loop().call_later(_REPLACED_SECONDS, self._cut)

    async def wait_closed(self) -> None:
        """Return when nothing will be written any more: soon after the end, since a reader gives up on a client that does not read."""
        if not self.closed:
            if self._closing is None:
                self._closing = asyncio.Event()
            await self._closing.wait()

    def leave(self) -> None:
        """The client has left: drop what is queued."""
        self._queue.clear()
        self._bytes = 0
        self.ended = True
        self._rouse()

    async def serve(self, headers: Iterable[Header], ping_seconds: float, age_seconds: float) -> None:
        """Write the response: its head, and what is queued until the reader is ended, with a keep-alive in every silence.

        Args:
            headers: Of the response, beside those of every stream.
            ping_seconds: Length of a silence.
            age_seconds: When to end with a hint to come back; 0 is never.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + age_seconds if age_seconds else None
        try:
            await self.http.open_stream(headers)
            del headers
            while self._queue or not self.ended:
                if not self._queue:
                    wait = ping_seconds if until is None else min(ping_seconds, max(0.0, until - loop.time()))
                    if not await self._roused(wait):
                        self._push(PING)
                if until is not None and loop.time() >= until and not self.ended:
                    self.aged = True
                    self.end()
                await self._flush()
        finally:
            self.close()

    def close(self) -> None:
        """Nothing will be written any more: it has served, or what serves it has failed."""
        self.ended = self.closed = True
        if self._closing is not None:
            self._closing.set()

    async def _flush(self) -> None:
        batch, self._queue, self._bytes = b"".join(self._queue), [], 0
        if not batch and not self.ended:
            return
        await self.http.write(batch, last=self.ended)

    async def _roused(self, seconds: float) -> bool:
        """Wait for something to be queued; False when nothing was."""
        loop = asyncio.get_running_loop()
        wake = self._wake = loop.create_future()
        timer = loop.call_later(seconds, _resolve, wake, False)
        try:
            return await wake
        finally:
            timer.cancel()
            self._wake = None

    def _push(self, event: bytes) -> None:
        self._queue.append(event)
        self._bytes += len(event)
        self._rouse()

    def _rouse(self) -> None:
        if self._wake is not None:
            _resolve(self._wake, True)

    def _cut(self) -> None:
        if not self.closed:
            self.leave()
            self.http.abort()


def _resolve(wake: asyncio.Future[bool], roused: bool) -> None:
    if not wake.done():
        wake.set_result(roused)

"""A time-out for what a client does not read, on every connection and for every answer.

The transport says when more waits to be written than its high-water mark (64 KiB), and when little does again; uvicorn's `send` waits in
between. While it is so, a client has to take `WRITE_BYTES` in every `write_timeout_seconds`, or the connection is cut: whoever waits in
`send` goes on, and whoever serves the request hears that its client has left. A connection that is written to freely costs nothing here.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

WRITE_BYTES: Final = 64 * 1024
"""Bytes that a client has to take within one time-out while it is behind: with the default some 2 KiB a second, below any phone's."""


class TimedWrites(HttpToolsProtocol):
    """One connection whose client is cut off when it stops reading."""

    __slots__ = ("_unwritten", "_write_timer")

    write_timeout_seconds: ClassVar[float] = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._write_timer: asyncio.TimerHandle | None = None
        self._unwritten = 0

    def pause_writing(self) -> None:
        """More waits than the high-water mark: the client has its time from now."""
        super().pause_writing()
        self._arm_write_timer()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._disarm_write_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm_write_timer()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose last answer was not even read would wait for its client for ever."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _arm_write_timer(self) -> None:
        self._disarm_write_timer()
        self._unwritten = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self.write_timeout_seconds, self._on_write_timeout)

    def _disarm_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _on_write_timeout(self) -> None:
        if self._unwritten - self.transport.get_write_buffer_size() >= WRITE_BYTES:
            self._arm_write_timer()
        else:
            self.transport.abort()

"""Bounds in time and bytes for what a client does not read, on every connection and for every answer.

The transport says when more waits to be written than its high-water mark (64 KiB), and when little does again; uvicorn's `send` waits in
between. While it is so, a client has to take `WRITE_BYTES` in every `write_timeout_seconds`, or the connection is cut: whoever waits in
`send` goes on, and whoever serves the request hears that its client has left. The same happens to those that have been behind for longest
when more waits for all of them together than `max_unread_bytes`. A connection that is written to freely costs nothing here.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from moorage.limits.unread import UNREAD
from moorage.telemetry import logs

WRITE_BYTES: Final = 64 * 1024
"""Bytes that a client has to take within one time-out while it is behind: with the default some 2 KiB a second, below any phone's."""

_log = logs.get_logger("moorage.http")


class TimedWrites(HttpToolsProtocol):
    """One connection whose client is cut off when it stops reading."""

    __slots__ = ("_unwritten", "_write_timer")

    write_timeout_seconds: ClassVar[float] = 30.0
    max_unread_bytes: ClassVar[int] = 64 << 20

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._write_timer: asyncio.TimerHandle | None = None
        self._unwritten = 0

    def pause_writing(self) -> None:
        """More waits than the high-water mark: the client has its time from now, unless the process holds too much already."""
        super().pause_writing()
        self._arm_write_timer()
        UNREAD.make_room(self.max_unread_bytes)

    def resume_writing(self) -> None:
        """The client has caught up; if its request was answered, its connection is idle from now."""
        self._catch_up()
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._catch_up()
        super().connection_lost(exc)

    def unread_bytes(self) -> int:
        """How many bytes wait to be written."""
        return self.transport.get_write_buffer_size()

    def cut(self, reason: str) -> None:
        """End the connection at once; what waited for its client is thrown away."""
        _log.info("http.unread", reason=reason, bytes=self.unread_bytes(), client=self.client and self.client[0])
        self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose last answer was not even read would wait for its client for ever."""
        if self._write_timer is not None:
            return  # it is being read, and has a time-out of its own
        if self.unread_bytes():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _arm_write_timer(self) -> None:
        self._disarm_write_timer()
        UNREAD.note(self)
        self._unwritten = self.unread_bytes()
        self._write_timer = self.loop.call_later(self.write_timeout_seconds, self._on_write_timeout)

    def _catch_up(self) -> None:
        UNREAD.forget(self)
        self._disarm_write_timer()

    def _disarm_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _on_write_timeout(self) -> None:
        if self._unwritten - self.unread_bytes() >= WRITE_BYTES:
            self._arm_write_timer()
        else:
            UNREAD.forget(self)
            self.cut("write_timeout")

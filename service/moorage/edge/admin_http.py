"""The HTTP protocol of the admin port: the public port's bounds, and nobody holds an answer that he does not read.

Its answers are written whole (`/metrics` is long), so no write of the app's ever waits for a slow reader: who stops reading is
cut off here. On the public port that is the exchange's affair.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from moorage.edge.http import BoundedProtocol, bounded_protocol


class AdminProtocol(BoundedProtocol):
    """One connection of the admin port."""

    __slots__ = ("_write_timer",)

    write_seconds: ClassVar[float] = 30.0
    """For an answer that does not fit into the buffers to be read to its end; scrapers give up after ten."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._write_timer: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """The buffers are full."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        self._disarm_write_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm_write_timer()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose answer was never read would wait for that."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _disarm_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def admin_protocol(max_header_bytes: int, max_headers: int) -> type[BoundedProtocol]:
    """Make a protocol class with these limits on the head of a request."""
    return bounded_protocol(max_header_bytes, max_headers, AdminProtocol)

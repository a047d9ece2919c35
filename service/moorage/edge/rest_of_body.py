"""What still comes of a request when its answer is complete, bounded in bytes and time, whoever answered and on every route.

A refusal is often given before the body has come. Promises that so much of it is read as a client had on its way, for the connection to
be used again; that behind that nothing is parsed; and that a client which still sends gets to read its answer before the connection
closes, since closing while data comes in takes the answer back (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any, ClassVar, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from moorage.edge.timed_writes import TimedWrites

REST_BYTES: Final = 64 * 1024
"""Bytes of a body that may come after its answer for the connection to stay open: what a client had on its way when it was
refused. Read in the smallest chunks there are, they cost the event loop 3 ms."""

LINGER_BYTES: Final = 8 << 20
"""Bytes that are thrown away unread before a connection closes: closing would take the answer back from a client that still sends.

Most HTTP libraries send all of a body before they read. This is twice the largest body by default, so that whoever is a little above it
reads why; in pieces of 256 KB it costs the event loop a few milliseconds, and no memory."""


class RestOfBody(TimedWrites):
    """One connection; parsing is for the class below, `_feed`."""

    __slots__ = ("_lingers", "_patient", "_read", "_rest", "_rest_timer")

    rest_seconds: ClassVar[float] = 2.0
    """For `REST_BYTES` to come, and again for a client to read its answer: many round trips on any network."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read = 0  # bytes in the last read
        self._rest: int | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        self._lingers = False  # nothing is parsed any more, the connection is about to close
        self._patient: _PatientTransport | None = None

    @abstractmethod
    def _feed(self, data: bytes) -> None:
        """Parse bytes.

        Raises:
            httptools.HttpParserError: They are no request, or one that is refused.
        """

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm_rest_timer()
        if self._patient is not None:  # the objects would keep each other
            self._patient, self.cycle.transport = None, self.transport
        super().connection_lost(exc)

    def _be_patient(self, cycle: RequestResponseCycle) -> None:
        """The body of a request is still to come: see to it that its answer can be read though it may be given before."""
        if not cycle.response_complete and cycle.transport is self.transport:
            if self._patient is None:
                self._patient = _PatientTransport(self)
            cycle.transport = cast("asyncio.Transport", self._patient)
            cycle.on_response = self._on_early_response

    def _on_early_response(self) -> None:
        self.on_response_complete()
        if self._rest is None and self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            self._rest = 0
            self._rest_timer = self.loop.call_later(self.rest_seconds, self.linger)

    def _take_rest(self, data: bytes, before: int) -> bytes | None:
        """Read on after the answer, within bounds; returns what belongs to the next request, None while there is none."""
        self._rest = before + len(data)
        if self._lingers:
            if self._rest > LINGER_BYTES:
                self.transport.close()
            return None
        room = max(0, REST_BYTES - before)
        self._read = len(data)
        try:
            self._feed(data[:room])
        except httptools.HttpParserError:  # it was answered already: there is nothing to say any more
            self.linger()
            return None
        rest = self.rest
        if rest is not None and rest > REST_BYTES:
            self.linger()
        return data[room:] if rest is None else None

    @property
    def rest(self) -> int | None:
        """Bytes that came after the answer to a request which is not complete; None where there is no such request."""
        return self._rest

    def end(self) -> None:
        """Close when all of the request has come, and linger before that."""
        if self._lingers or self.cycle.more_body:
            self.linger()
        else:
            self.transport.close()

    def linger(self) -> None:
        """Close in a moment: closing while data comes in would take the answer back before it is read (RFC 9112, 9.6)."""
        self._disarm_rest_timer()
        if self.transport.is_closing():
            return
        self._lingers, self._rest = True, 0
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._rest_timer = self.loop.call_later(self.rest_seconds, self.transport.close)

    def _disarm_rest_timer(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None


class _PatientTransport:
    """What an answer is written to whose request is not complete: closing waits until the answer can have been read."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, protocol: RestOfBody) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.end

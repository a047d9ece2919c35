"""How many request bodies are read at a time, and how many bytes they hold meanwhile.

Without this bound the memory of a process is that of all the uploads that somebody keeps unfinished. A part of both bounds is for small
bodies alone: the answers, notifications and cancellations that let calls end must get in while large bodies fill the rest.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from moorage.limits.room import Room
from moorage.protocol.budgets import principal_of
from moorage.protocol.refusals import Refusal, denied

if TYPE_CHECKING:
    from moorage.limits.tenants import Tenants
    from moorage.protocol.exchange import HttpExchange
    from moorage.settings import HttpSettings

SMALL_BYTES: Final = 64 * 1024
"""Bodies up to here use the kept part; every message without a payload of its own fits."""

_KEPT: Final = 8
"""One part in so many of both bounds is for small bodies alone."""


class BodyRefused(Exception):  # noqa: N818 - a refusal, not a fault
    """A body does not fit in beside those that are being read."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class BodyBudget:
    """The bodies that this process reads, at the public port and at the relay port together."""

    def __init__(self, http: HttpSettings, reserve: float, tenants: Tenants) -> None:
        self._limits = http
        count, size = http.max_bodies, http.max_bodies_bytes
        self._small = Room(count, reserve, tenants), Room(size, reserve, tenants)
        self._large = Room(max(1, count - ceil(count / _KEPT)), reserve, tenants), Room(size - ceil(size / _KEPT), reserve, tenants)
        self._reading: dict[HttpExchange, int] = {}
        self.bytes = 0

    @property
    def count(self) -> int:
        """How many are being read."""
        return len(self._reading)

    async def read(self, http: HttpExchange, size: int | None) -> bytes:
        """Read the body of an exchange, whose `declared_bytes` are given; waits for its client, `http.body_timeout_seconds` at most.

        Raises:
            BodyRefused, BodyTooLarge, BodyStalled, ClientLeft.
        """
        limits = self._limits
        self.enter(http, size)
        try:
            return await http.read_body(limits.max_body_bytes, limits.body_timeout_seconds, self.grow if size is None else None)
        finally:
            self.leave(http)

    def enter(self, http: HttpExchange, declared: int | None) -> None:
        """Count a body in, with the bytes that its head declares; None for a chunked one, whose bytes are counted as they come.

        Raises:
            BodyRefused: It does not fit in.
        """
        count, size = self._large if declared is None or declared > SMALL_BYTES else self._small
        verdict = count.denies(len(self._reading), lambda: self._held(http)[0])
        bytes_ = declared or 0
        if verdict is None and bytes_:
            verdict = size.denies(self.bytes, lambda: self._held(http)[1], bytes_)
        if verdict is not None:
            raise BodyRefused(denied("request bodies", "bodies", verdict))
        self._reading[http] = bytes_
        self.bytes += bytes_

    def grow(self, http: HttpExchange, size: int) -> None:
        """Count what has come of a chunked body.

        Raises:
            BodyRefused: It does not fit in any more.
        """
        more = size - self._reading[http]
        room = (self._small if size <= SMALL_BYTES else self._large)[1]
        verdict = room.denies(self.bytes, lambda: self._held(http)[1], more)
        if verdict is not None:
            raise BodyRefused(denied("request bodies", "bodies", verdict))
        self._reading[http] = size
        self.bytes += more

    def leave(self, http: HttpExchange) -> None:
        """Count a body out: it was read, or given up."""
        self.bytes -= self._reading.pop(http)

    def _held(self, asking: HttpExchange) -> tuple[int, int]:
        """How many bodies and bytes the principal of an exchange holds."""
        name = principal_of(asking)
        sizes = [size for http, size in self._reading.items() if principal_of(http) == name]
        return len(sizes), sum(sizes)


def declared_bytes(http: HttpExchange) -> int | None:
    """Size of a body as its head has it; None where it is chunked, and its size is known when it has come."""
    declared = http.headers.get(b"content-length")
    if declared is None:
        return None if b"transfer-encoding" in http.headers else 0
    return int(declared) if declared.isdigit() else None

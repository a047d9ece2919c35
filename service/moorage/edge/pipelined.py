"""Requests that wait on their connection behind the one that is served: whoever serves it hears all the same that the client has left.

uvicorn tells only the request that was parsed last that the connection is lost, and reads nothing while one waits, so that it does not
learn of the loss before it writes. A call whose client left would run, hold its place and its streams until its next keep-alive comment, or
its deadline where the answer is one document, and its disconnect watch would wait for ever.
"""

from __future__ import annotations

import asyncio
import select
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from moorage.edge.rest_of_body import RestOfBody

_LEFT: Final = getattr(select, "POLLRDHUP", 0)
"""The peer sends no more, though what it sent is still unread. Elsewhere than on Linux only a reset is noticed."""


class Pipelined(RestOfBody):
    """One connection; `_waits_behind` is for the class below, when a request was queued."""

    __slots__ = ("_look_timer", "_unanswered")

    look_seconds: ClassVar[float] = 1.0
    """Between two looks at a connection on which requests wait: a place in a full process is free that much later."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unanswered: tuple[RequestResponseCycle, ...] = ()
        self._look_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever serves a request of this connection, or is going to."""
        if self._look_timer is not None:
            self._look_timer.cancel()
        for cycle in self._unanswered:
            cycle.disconnected = cycle.disconnected or not cycle.response_complete
            cycle.message_event.set()
        self._unanswered, self._look_timer = (), None
        super().connection_lost(exc)

    def _waits_behind(self, before: RequestResponseCycle) -> None:
        """The newest request waits behind others, `before` the last of them: look from time to time whether its client is there."""
        earlier = self._unanswered or (before,)
        self._unanswered = (*(cycle for cycle in earlier if not cycle.response_complete), self.cycle)
        if self._look_timer is None:
            self._look_timer = self.loop.call_later(self.look_seconds, self._look)

    def _look(self) -> None:
        self._look_timer = None
        self._unanswered = tuple(cycle for cycle in self._unanswered if not cycle.response_complete)
        if not self._unanswered or self.transport.is_closing():
            return
        peer = select.poll()
        peer.register(self.transport.get_extra_info("socket").fileno(), _LEFT)
        if peer.poll(0):
            self.transport.abort()  # as uvicorn does with whoever sends no more
        else:
            self._look_timer = self.loop.call_later(self.look_seconds, self._look)

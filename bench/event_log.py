"""The event log of the SDK's peer: in memory, a hundred events a stream, as in the SDK's own example."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import count

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage

_KEPT = 100


@dataclass(frozen=True, slots=True)
class _Event:
    event_id: str
    stream_id: str
    message: JSONRPCMessage | None


class MemoryEvents(EventStore):
    """Keeps the last events of every stream."""

    def __init__(self) -> None:
        self._streams: dict[str, deque[_Event]] = {}
        self._by_id: dict[str, _Event] = {}
        self._numbers = count(1)

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep an event."""
        stream = self._streams.setdefault(stream_id, deque())
        if len(stream) == _KEPT:
            del self._by_id[stream.popleft().event_id]
        event = _Event(str(next(self._numbers)), stream_id, message)
        stream.append(event)
        self._by_id[event.event_id] = event
        return event.event_id

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send what follows an event in its stream."""
        last = self._by_id.get(last_event_id)
        if last is None:
            return None
        missed = False
        for event in list(self._streams[last.stream_id]):
            if missed and event.message is not None:
                await send_callback(EventMessage(event.message, event.event_id))
            missed = missed or event is last
        return last.stream_id

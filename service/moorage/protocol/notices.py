"""Change notices, from whoever publishes to whoever listens: SDK events in, listen streams and GET streams out.

The SDK's in-process bus stays what tools publish on and listen streams hear; publishing on it goes to the store's bus first, if there is
one, and comes back from there to every process. Sessions of the handshake era are told, too: of changed lists all that have a GET stream,
of a changed resource those that subscribed to it.

Source: docs/decisions/2026-11-24-event-log.md, item 7
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from mcp.server.subscriptions import (
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError

from moorage.protocol import sdk
from moorage.store.bus import EVERYTHING, Bus, Notice
from moorage.store.outage import StoreUnavailable

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server

    from moorage.protocol.session import Session

_LISTS: Final[Mapping[str, str]] = {"tools": "tools/list", "prompts": "prompts/list", "resources": "resources/list"}
_EVENTS: Final[Mapping[str, ServerEvent]] = {
    "tools": ToolsListChanged(),
    "prompts": PromptsListChanged(),
    "resources": ResourcesListChanged(),
}
_RESOURCE: Final = "resource"
_MOVED: Final = "moved"
_MOVED_TEXT: Final = re.compile(r"([A-Za-z0-9_-]{22}):([0-9]{1,15})", re.ASCII)
_KINDS: Final = frozenset({*_EVENTS, _RESOURCE, EVERYTHING.kind})
_MOST_WAITING: Final = 1024
_UPDATED: Final = "notifications/resources/updated"

log = structlog.get_logger("moorage.protocol")


def notice_of(event: ServerEvent) -> Notice:
    """The notice that stands for an event of the SDK."""
    if isinstance(event, ResourceUpdated):
        return Notice(_RESOURCE, event.uri)
    return next(Notice(kind) for kind, known in _EVENTS.items() if known == event)


def event_of(notice: Notice) -> ServerEvent | None:
    """The event of the SDK that a notice stands for; None where it stands for more than one."""
    return ResourceUpdated(uri=notice.uri) if notice.kind == _RESOURCE else _EVENTS.get(notice.kind)


async def tell(session: Session, notice: Notice, server: Server[Any]) -> None:
    """Tell one session of the handshake era, as far as it is concerned."""
    if not session.streamed:
        return
    everything = notice == EVERYTHING
    for kind, method in _LISTS.items():
        if notice.kind == kind or (everything and server.get_request_handler(method) is not None):
            await session.notify(f"notifications/{kind}/list_changed", None)
    for uri in sorted(session.watched) if everything else [notice.uri] if notice.uri in session.watched else []:
        await session.notify(_UPDATED, {"uri": uri})


def end_listen_streams(server: Server[Any]) -> None:
    """End every listen stream with its final result: clients listen again, and look at everything anew."""
    entry = server.get_request_handler("subscriptions/listen")
    if entry is not None and isinstance(entry.handler, ListenHandler):
        entry.handler.close()


class Notices:
    """Takes notices in and delivers them one after another, each once to everybody here.

    Args:
        server: Whose tools publish.
        sessions: Those in this process.

    Attributes:
        moved: Called when a session has another owner: the tag of the session, and since which epoch.
    """

    def __init__(self, server: Server[Any], sessions: Callable[[], Iterator[Session]]) -> None:
        self._server = server
        self._sessions = sessions
        self._bus: Bus | None = None
        self._waiting: dict[Notice, str] = {}
        self._woken = asyncio.Event()
        self._deliver = sdk.share_bus(server, self.publish)
        self.moved: Callable[[str, int], None] = lambda _tag, _epoch: None

    def connect(self, bus: Bus) -> None:
        """Share notices with other replicas by way of this bus."""
        self._bus = bus

    async def publish(self, event: ServerEvent) -> None:
        """Tell everybody: what the SDK's bus does when a tool publishes."""
        notice = notice_of(event)
        if self._bus is None:
            self.receive(notice)
        else:
            await self._bus.publish(notice)

    async def tell_moved(self, tag: str, epoch: int) -> None:
        """Tell every process that a session has had another owner since this epoch."""
        if self._bus is not None:
            await self._bus.publish(Notice(_MOVED, f"{tag}:{epoch}"))

    def receive(self, notice: Notice) -> None:
        """Take a notice in; the same one, if it waits already, is delivered once, and one that says nothing to us is skipped."""
        if notice.kind == _MOVED and (found := _MOVED_TEXT.fullmatch(notice.uri)) is not None:
            self.moved(found[1], int(found[2]))
            return
        if notice.kind not in _KINDS:
            if self._bus is not None:
                self._bus.skip("its kind or its content is none of ours")
            return
        self._waiting.pop(notice, None)
        self._waiting[notice if len(self._waiting) < _MOST_WAITING else EVERYTHING] = "" if self._bus is None else self._bus.position
        self._woken.set()

    def catch_up(self, session: Session, position: str) -> None:
        """Have a session that was claimed hear what was published while nobody owned it."""
        if self._bus is not None and session.streamed:
            tell_missed = partial(self._tell_missed, session, position, self._bus)
            session.around.background.contained("notices-missed", tell_missed, on_fault=session.let_go)  # claimed anew, it is told anew
        elif self._bus is not None and session.lease is not None:
            session.lease.bus = self._bus.position

    async def deliver_forever(self) -> None:
        """Deliver, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._waiting:
                notice = next(iter(self._waiting))
                position = self._waiting.pop(notice)
                try:
                    await self._deliver_one(notice, position)
                except Exception:  # boundary: a listener's fault must not keep the next notice back, nor end the service
                    log.exception("notice.failed", kind=notice.kind)

    async def _deliver_one(self, notice: Notice, position: str) -> None:
        event = event_of(notice)
        if event is None:
            end_listen_streams(self._server)
        elif self._deliver is not None:
            await self._deliver(event)
        for session in self._sessions():
            await self._tell(session, notice)
            if session.lease is not None:
                session.lease.bus = position

    async def _tell(self, session: Session, notice: Notice) -> None:
        try:
            await tell(session, notice, self._server)
        except MCPError:
            log.debug("notice.unheard", kind=notice.kind)  # the session is somebody else's, who hears it as well

    async def _tell_missed(self, session: Session, position: str, bus: Bus) -> None:
        now = bus.position  # what comes from here on is delivered to every session that is here
        try:
            missed = await bus.since(position)
        except StoreUnavailable:
            missed, now = [EVERYTHING], ""
        for notice in missed:
            await self._tell(session, notice)
        if session.lease is not None:
            session.lease.bus = now

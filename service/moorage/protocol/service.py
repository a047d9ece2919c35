"""One SDK server object as a service: the two eras, the calls in flight, and how they end.

`McpService` is what the rooms above see of the protocol. It owns the SDK server's lifespan, so that whatever the user's server
sets up there is entered once a process, and it says what a drain has to do; when to do it is the lifecycle's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import ListenHandler

from moorage.protocol import sdk
from moorage.protocol.call import InFlight
from moorage.protocol.exchange import HttpExchange
from moorage.protocol.hot import HotTools
from moorage.protocol.legacy import HANDSHAKE_VERSIONS, LegacyEndpoint
from moorage.protocol.modern import ModernEndpoint
from moorage.protocol.observation import Observed

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server

    from moorage.security.principal import Principal
    from moorage.settings import Settings
    from moorage.telemetry.instruments import Instruments

SDK_VERSION: Final = version("mcp")
_MAX_USERS: Final = 4096

log = structlog.get_logger("moorage.protocol")


class McpService:
    """Serves one SDK server object."""

    def __init__(self, target: MCPServer[Any] | Server[Any], settings: Settings, instruments: Instruments) -> None:
        self.server = sdk.low_level(target)
        sdk.remove_sdk_tracing(self.server)
        known = target if isinstance(target, MCPServer) and _is_known_release(target) else None
        observed = Observed(known or self.server, self.server)
        self.server.middleware.insert(0, observed)
        self.in_flight = InFlight(settings.http.ping_seconds)
        hot = None if known is None else HotTools(known, self.server)
        self._legacy = LegacyEndpoint(self.server, self.in_flight, http=settings.http, sessions=settings.sessions, instruments=instruments)
        self._modern = ModernEndpoint(
            self.server,
            hot,
            observed,
            self.in_flight,
            json_responses=settings.http.json_responses,
            room_for_stream=self._room_for_stream,
        )
        self._max_streams = settings.sessions.max_streams
        self._users: dict[Principal, AuthenticatedUser] = {}

    @property
    def name(self) -> str:
        """The server's name, as clients see it."""
        return self.server.name

    @property
    def version(self) -> str | None:
        """The server's own version, as clients see it."""
        return self.server.version

    @property
    def open_sessions(self) -> int:
        """How many sessions of the handshake era this process holds."""
        return self._legacy.open_sessions

    @property
    def open_streams(self) -> int:
        """How many long-lived streams are open, of both eras."""
        return self._legacy.open_streams + self.in_flight.streams

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Enter the server's lifespan and serve; leaving ends every session."""
        clock = asyncio.get_running_loop().time
        async with self.server.lifespan(self.server) as state, self.in_flight.running(), anyio.create_task_group() as tasks:
            self._modern.start(state, clock)
            self._legacy.start(state, clock)
            tasks.start_soon(self._legacy.reap_forever)
            yield
            await self._legacy.close()
            tasks.cancel_scope.cancel()

    async def serve(self, http: HttpExchange) -> None:
        """Answer one exchange that the edge has let in."""
        self._identify(http)
        if _is_legacy(http.headers.get(b"mcp-protocol-version")):
            await self._legacy.serve(http)
        else:
            await self._modern.serve(http)

    def _room_for_stream(self) -> bool:
        return self.open_streams < self._max_streams

    def _identify(self, http: HttpExchange) -> None:
        """Let tools ask the SDK who is calling (`get_access_token()`); never with the token itself."""
        principal = http.principal
        if principal is None or principal.anonymous:
            return
        user = self._users.get(principal)
        if user is None:
            token = AccessToken(token="", client_id=principal.name, subject=principal.name, scopes=sorted(principal.scopes))
            user = AuthenticatedUser(token)
            if len(self._users) < _MAX_USERS:
                self._users[principal] = user
        http.scope["user"] = user
        auth_context_var.set(user)  # the task of this exchange owns its context: nothing has to be reset

    # What a drain does, in its order

    def refuse_sessions(self) -> None:
        """Let clients that begin a session begin it elsewhere."""
        self._legacy.accepting = self._modern.accepting = False

    def end_streams(self) -> None:
        """End the streams that would never end by themselves, each in its era's own way."""
        entry = self.server.get_request_handler("subscriptions/listen")
        if entry is not None and isinstance(entry.handler, ListenHandler):
            entry.handler.close()
        self._legacy.end_streams()

    async def finish_calls(self) -> None:
        """Return when every call in flight is answered."""
        await self.in_flight.idle()

    async def cancel_calls(self) -> None:
        """Interrupt what is left; each is answered with an error that says so."""
        self.in_flight.cancel_all()
        await self.in_flight.idle()


def _is_legacy(protocol_version: bytes | None) -> bool:
    """The header alone decides the era; what is unknown is the modern endpoint's to refuse (it names what is served)."""
    return protocol_version is None or protocol_version.strip(b" \t") in HANDSHAKE_VERSIONS


def _is_known_release(target: MCPServer[Any]) -> bool:
    missing = sdk.missing_parts(target)
    if missing:
        log.warning("mcp.sdk_changed", sdk=SDK_VERSION, missing=missing, effect="every call takes the SDK's own path")
    return not missing

"""One SDK server object as a service: the two eras, the calls in flight, and how they end.

`McpService` is what the rooms above see of the protocol. It owns the SDK server's lifespan, so that whatever the user's server
sets up there is entered once a process, and it says what a drain has to do; when to do it is the lifecycle's business.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Final

import structlog
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import MCPServer
from mcp_types import INVALID_REQUEST

from moorage.lifecycle.heap import Crowd
from moorage.lifecycle.supervised import Scope
from moorage.memo import BoundedMemo
from moorage.protocol import sdk
from moorage.protocol.alone import AloneHome
from moorage.protocol.bounds import BodyBounds
from moorage.protocol.budgets import Budgets
from moorage.protocol.call import InFlight
from moorage.protocol.dispatch import Dispatcher
from moorage.protocol.home import Home
from moorage.protocol.hot import HotTools
from moorage.protocol.legacy import HANDSHAKE_VERSIONS, LegacyEndpoint
from moorage.protocol.modern import ModernEndpoint
from moorage.protocol.notices import Notices, end_listen_streams
from moorage.protocol.observation import Observed
from moorage.protocol.orphans import Repeatable
from moorage.protocol.refusals import key_revoked
from moorage.protocol.request_state import PURPOSE as REQUEST_STATE
from moorage.protocol.request_state import SharedCodec
from moorage.protocol.result_bounds import refuse_large
from moorage.protocol.session import Session, Surroundings
from moorage.protocol.shared import SharedHome
from moorage.protocol.threads import Threads
from moorage.protocol.tool_errors import as_tool_error
from moorage.sessions.identity import MINT_BYTES, SessionIds
from moorage.sessions.identity import PURPOSE as SESSION_ID
from moorage.store.outage import StoreUnavailable

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server

    from moorage.limits.tenants import Tenants
    from moorage.protocol.exchange import HttpExchange
    from moorage.protocol.replication import Replication
    from moorage.security.keyring import SealingKeys
    from moorage.security.principal import Principal
    from moorage.settings import Settings
    from moorage.store.sessions import Owned
    from moorage.telemetry.instruments import Instruments

Lifespan = AbstractAsyncContextManager[Any]  # of a server; it yields what the server chooses

SDK_VERSION: Final = version("mcp")
NO_STORE_HINT: Final = (
    "more than one replica and no shared store: calls work on each, but questions to the client, GET streams and resumption only by chance"
)
_USERS: Final = 4096
_USERS_BYTES: Final = 8 * 1024 * 1024
_USER_BYTES: Final = 1024
"""Of one, beside its name and scopes."""

_TEND_EVERY_SECONDS: Final = 1.0

log = structlog.get_logger("moorage.protocol")


class McpService:
    """Serves one SDK server object."""

    def __init__(
        self, target: MCPServer[Any] | Server[Any], settings: Settings, instruments: Instruments, keys: SealingKeys, tenants: Tenants
    ) -> None:
        """Args: `keys` seal session ids and `requestState`; replicas share them.

        Raises:
            SettingsError: The settings name no usable store.
        """
        self.server = sdk.low_level(target)
        sdk.remove_sdk_tracing(self.server)
        if keys.shared:
            sdk.share_request_state(self.server, partial(SharedCodec, keys.sealer(REQUEST_STATE)))
        known = target if isinstance(target, MCPServer) and _is_known_release(target) else None
        observed = Observed(known or self.server, self.server)
        self.server.middleware.insert(0, observed)
        self.in_flight = InFlight(settings.http.ping_seconds, settings.calls.deadline_seconds, settings.calls.longest_seconds)
        if known is not None:
            sdk.convert_tool_errors(known, as_tool_error)
            sdk.bound_results(refuse_large)
        hot = self._hot = None if known is None else HotTools(known, self.server, observed)
        self._settings = settings
        self._instruments = instruments
        self._keys = keys
        self._repeatable = Repeatable(known or self.server)
        self.replication = _replication(settings, keys) if settings.store.configured else None
        underway = None if self.replication is None else self.replication.underway
        self._bounds = BodyBounds(settings.http.max_json_depth, settings.http.max_json_values)
        self.budgets = Budgets(settings, tenants, self.in_flight, underway)
        self._notices = Notices(self.server, self._sessions)
        self._legacy: LegacyEndpoint | None = None
        self._modern = ModernEndpoint(
            self.server,
            hot,
            self.in_flight,
            self.budgets,
            json_responses=settings.http.json_responses,
            age_seconds=self._age_seconds,
        )
        self.threads = Threads(settings.calls, settings.tenants.reserve, tenants)
        instruments.threads = self.threads.states
        self._users: BoundedMemo[Principal, AuthenticatedUser] = BoundedMemo(entries=_USERS, max_bytes=_USERS_BYTES)
        self.met_another = False

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
        """How many sessions of the handshake era this process serves."""
        return 0 if self._legacy is None else self._legacy.home.count

    @property
    def open_streams(self) -> int:
        """How many long-lived streams are open, of both eras."""
        return self.budgets.streams.total

    def _sessions(self) -> Iterator[Session]:
        return iter(()) if self._legacy is None else self._legacy.home.sessions()

    @asynccontextmanager
    async def running(self, around: Callable[[Lifespan], Lifespan] = lambda lifespan: lifespan) -> AsyncGenerator[None, None]:
        """Enter the server's lifespan, within what `around` makes of it, and serve; leaving lets go of every session."""
        loop = asyncio.get_running_loop()
        threads, calls = self.threads.running(), self.in_flight.running()
        async with threads, around(self.server.lifespan(self.server)) as state, calls, Scope() as background:
            self._modern.start(state, loop.time)
            legacy = self._legacy = self._make_legacy(state, background)
            background.restarted("notices", self._notices.deliver_forever)
            if self.replication is not None:
                self._notices.connect(self.replication.bus)
                await self.replication.start(background, self._notices.receive)
            background.restarted("sessions-tend", partial(self._tend_forever, legacy))
            yield
            await legacy.home.close()
            if self.replication is not None:
                await self.replication.close()

    async def _tend_forever(self, legacy: LegacyEndpoint) -> None:
        crowd = Crowd(asyncio.get_running_loop().time)
        while True:
            await asyncio.sleep(_TEND_EVERY_SECONDS)
            with suppress(StoreUnavailable):  # tried again in a second
                await legacy.end_unreadable()
            await legacy.home.tend()
            if crowd.has_left(legacy.home.living + self.open_streams):
                legacy.shrink()

    def _make_legacy(self, lifespan_state: Any, background: Scope) -> LegacyEndpoint:
        settings, clock, mint = self._settings, asyncio.get_running_loop().time, os.urandom(MINT_BYTES)
        limits, replication = settings.sessions, self.replication
        around = Surroundings(
            self.server,
            lifespan_state,
            background=background,
            ping_seconds=settings.http.ping_seconds,
            age_seconds=self._age_seconds,
            asked_by=mint.hex(),
            budgets=self.budgets,
            question_gap_seconds=limits.question_gap_seconds,
        )
        lifetime = limits.lifetime_seconds if replication is None else None
        ids = SessionIds(self._keys.sealer(SESSION_ID), mint=mint, lifetime_seconds=lifetime)
        dispatcher = Dispatcher(self.in_flight, self._repeatable, clock, hot=self._hot, json_responses=settings.http.json_responses)
        make = partial(
            LegacyEndpoint,
            around,
            ids=ids,
            budgets=self.budgets,
            http=settings.http,
            dispatcher=dispatcher,
            instruments=self._instruments,
            clock=clock,
        )
        if replication is None:
            home: Home = AloneHome(
                around,
                limits,
                self._instruments,
                clock=clock,
                wall_clock=time.time,
                several=max(settings.server.replicas, settings.server.workers) > 1,
                outlives=self._keys.shared,
                met_another=self._on_met_another,
            )
            return make(home=home)
        shared = SharedHome(
            around,
            limits,
            self._instruments,
            clock=clock,
            wall_clock=time.time,
            store=replication.sessions,
            adopt=self._adopt,
            tell_moved=self._notices.tell_moved,
        )
        replication.on_lapse = shared.lapse
        self._notices.moved = shared.moved
        self._instruments.store_answers = lambda: replication.owner.alive
        self._instruments.store_state = replication.state
        return make(home=shared, forward=replication.forward, is_alive=replication.owner.is_alive)

    def _adopt(self, session: Session, owned: Owned, http: HttpExchange) -> None:
        self._the_legacy.adopt(session, owned, http)
        self._notices.catch_up(session, owned.bus)

    def _on_met_another(self) -> None:
        if not self.met_another:
            self.met_another = True
            log.warning("replicas.no_store", hint=NO_STORE_HINT)

    async def serve(self, http: HttpExchange) -> None:
        """Answer one exchange that the edge has let in."""
        if http.body and (refusal := self._bounds.refusal(http.body)) is not None:
            await http.respond_error(400, INVALID_REQUEST, refusal)
            return
        self._identify(http)
        if _is_legacy(http.headers.get(b"mcp-protocol-version")):
            await self._the_legacy.serve(http)
        else:
            await self._modern.serve(http)

    async def serve_relayed(self, http: HttpExchange) -> None:
        """Answer one exchange that another replica has passed on; its sender was identified there, and its body is bounded here again."""
        if http.body and (refusal := self._bounds.refusal(http.body)) is not None:
            await http.respond_error(400, INVALID_REQUEST, refusal)
            return
        self._identify(http)
        await self._the_legacy.serve(http, relayed=True)

    @property
    def _the_legacy(self) -> LegacyEndpoint:
        assert self._legacy is not None  # noqa: S101 - nothing is served before the lifespan has begun
        return self._legacy

    def _age_seconds(self) -> float:
        return self._settings.sessions.stream_max_age_seconds * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load

    def _identify(self, http: HttpExchange) -> None:
        """Let tools ask the SDK who is calling (`get_access_token()`); never with the token itself."""
        principal = http.principal
        if principal is None or principal.anonymous:
            return
        user = self._users.get(principal)
        if user is None:
            token = AccessToken(token="", client_id=principal.name, subject=principal.name, scopes=sorted(principal.scopes))
            size = _USER_BYTES + 4 * len(principal.name) + sum(map(getsizeof, principal.scopes))
            user = self._users.put(principal, AuthenticatedUser(token), size)
        http.scope["user"] = user
        auth_context_var.set(user)  # the task of this exchange owns its context: nothing has to be reset

    def end_revoked(self, principals: frozenset[Principal]) -> None:
        """End what was begun with a key that is valid no more: calls with an error, streams and hops to other replicas at once.

        A session stays: it belongs to its principal, who may have another key.
        """

        def concerned(http: HttpExchange) -> bool:
            return http.principal in principals

        self.in_flight.end_those(concerned, key_revoked())
        for session in self._sessions():
            session.end_streams(concerned)
        if self.replication is not None:
            self.replication.underway.end_those(concerned)

    # What a drain does, in its order

    def refuse_sessions(self) -> None:
        """Let clients that begin a session begin it elsewhere."""
        self._the_legacy.home.accepting = self._modern.accepting = False

    async def end_streams(self) -> None:
        """End the streams that would never end by themselves, each in its era's own way, and leave idle sessions to other replicas."""
        end_listen_streams(self.server)
        if self.replication is not None:
            self.replication.underway.end_streams()
        await self._the_legacy.home.leave()

    async def finish_calls(self) -> None:
        """Return when every call in flight is answered, those that other replicas run among them."""
        await self.in_flight.idle()
        if self.replication is not None:
            await self.replication.underway.idle()

    async def finish_last_calls(self) -> None:
        """The same, while no call of a session begins any more: whoever comes now is sent to another replica."""
        self._the_legacy.closing = True
        await self.finish_calls()

    async def cancel_calls(self) -> None:
        """Interrupt what is left; each is answered with an error that says so."""
        self.in_flight.cancel_all()
        if self.replication is not None:
            self.replication.underway.end_all()
        try:
            await self.finish_calls()
        finally:
            self.in_flight.name_unended()


def _replication(settings: Settings, keys: SealingKeys) -> Replication:
    """Imported only where there is a store: its client takes as long to import as most of what is imported else."""
    from moorage.protocol.replication import Replication

    return Replication(settings, keys)


def _is_legacy(protocol_version: bytes | None) -> bool:
    """The header alone decides the era; what is unknown is the modern endpoint's to refuse (it names what is served)."""
    return protocol_version is None or protocol_version.strip(b" \t") in HANDSHAKE_VERSIONS


def _is_known_release(target: MCPServer[Any]) -> bool:
    missing = sdk.missing_parts(target)
    if missing:
        log.warning("mcp.sdk_changed", sdk=SDK_VERSION, missing=missing, effect="every call takes the SDK's own path")
    return not missing

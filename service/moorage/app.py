"""The application: the one place where rooms are wired together, and where every list that has an order can be read.

`create_app` is an ASGI factory (`uvicorn moorage.app:create_app --factory` works; `moorage serve` runs the same under gunicorn).
It has to run after the fork, which every server without preload does: telemetry providers own threads. `/mcp` is answered
before FastAPI's own stack; everything else is FastAPI's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from fastapi import FastAPI

from moorage import __version__
from moorage.admin.probes import AdminApp, Check, about
from moorage.edge.bodies import BodyBudget
from moorage.edge.door import Door
from moorage.edge.gateway import Gateway
from moorage.edge.http import served_protocol
from moorage.errors import SettingsError
from moorage.lifecycle import supervised
from moorage.lifecycle.budget import Budget
from moorage.lifecycle.drain import Step, run_drain
from moorage.lifecycle.exit_deadline import ExitDeadline
from moorage.lifecycle.loop_guard import guarded_loop
from moorage.lifecycle.loop_watch import LOOP, LoopWatch
from moorage.lifecycle.phase import Lifecycle, Phase
from moorage.lifecycle.side_server import SideServer
from moorage.lifecycle.signals import chain_sigterm
from moorage.lifecycle.threads import DaemonExecutor
from moorage.limits.tenants import Tenants
from moorage.protocol.running import what_runs
from moorage.protocol.service import NO_STORE_HINT, McpService
from moorage.protocol.target import load_target
from moorage.protocol.threads import REPLACE_AFTER_SECONDS, Threads
from moorage.security.api_keys import KeySource, key_source
from moorage.security.authn import Authenticator
from moorage.security.cors import Cors
from moorage.security.hosts import HostPolicy, OriginPolicy
from moorage.security.keyring import SealingKeys, sealing_keys
from moorage.security.rotation import Rotation
from moorage.settings import is_loopback
from moorage.settings_sources import load_settings
from moorage.store.address import joined
from moorage.telemetry import bootstrap, logs
from moorage.telemetry.observer import Observer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from moorage.settings import DrainSettings, Settings

MCP_PATHS: Final = frozenset({"/mcp", "/mcp/"})
"""Both are the endpoint: a redirect between them is downgraded to http by many a proxy."""

_KEYS_LOOKED_AT_EVERY_SECONDS: Final = 1.0
_THREADS_LOOKED_AT_EVERY_SECONDS: Final = 0.5
_PORTS: Final = 65536
_HOP_BYTES: Final = 1024
_HOP_FIELDS: Final = 4

log = structlog.get_logger("moorage")


class MoorageApp(FastAPI):
    """FastAPI, with `/mcp` in front of its middleware stack."""

    gateway: Gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "http" and scope["path"] in MCP_PATHS:
            await self.gateway(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings | None = None, target: Any = None, *, owns_process: bool = False) -> MoorageApp:
    """Build the application.

    Args:
        settings: `None` reads them from the environment and the configuration file.
        target: an SDK server object; `None` loads what `settings.target` names.
        owns_process: Whether the process serves nothing else: it is ended when it is not over within the drain's budget.

    Raises:
        SettingsError, TargetError: with a message for whoever started the process.
    """
    settings = settings or load_settings().settings
    logs.configure(settings.logs.level, settings.logs.format)
    lifecycle = Lifecycle()
    loaded = load_target(_target_of(settings)) if target is None else target
    keys = sealing_keys(settings.security)
    telemetry = bootstrap.start(settings.telemetry, service_name=loaded.name, version=__version__, sealed=keys.sealed)
    observer = Observer(tracer=telemetry.tracer, instruments=telemetry.instruments, log=structlog.get_logger("moorage.mcp"))
    source = key_source(settings.security)
    tenants = Tenants(lambda: 0 if source is None else len(source.ring.names), settings.tenants.seen_seconds, time.monotonic)
    service = McpService(loaded, settings, telemetry.instruments, keys, tenants)
    bodies = BodyBudget(settings.http, settings.tenants.reserve, tenants)
    authenticator = Authenticator(source, anonymous=source is None or settings.security.allow_anonymous)
    origins = OriginPolicy(settings.security.allowed_origins)
    authenticator.on_revoked(service.end_revoked)
    app = MoorageApp(title=service.name, version=service.version or __version__, openapi_url=None, lifespan=_lifespan)
    app.gateway = Gateway(
        service,
        observer,
        lifecycle,
        hosts=HostPolicy(settings.security.allowed_hosts),
        origins=origins,
        cors=Cors(origins),
        authenticator=authenticator,
        tenants=tenants,
        bodies=bodies,
        limits=settings.http,
        allow_anonymous=settings.security.allow_anonymous,
    )
    app.state.settings = settings
    app.state.lifecycle = lifecycle
    app.state.service = service
    app.state.telemetry = telemetry
    app.state.key_source = source
    app.state.authenticator = authenticator
    app.state.keys = keys
    app.state.rotation = Rotation(keys, settings.server.replicas * settings.server.workers, time.monotonic)
    app.state.observer = observer
    app.state.bodies = bodies
    app.state.owns_process = owns_process
    app.add_api_route("/", _front_page, methods=["GET"], response_model=None, include_in_schema=False)
    telemetry.instrument_fastapi(app)
    return app


def _target_of(settings: Settings) -> str:
    if settings.target is None:
        raise SettingsError("there is nothing to serve: no target is set", "Name one: moorage serve MODULE:ATTRIBUTE, or MOORAGE_TARGET.")
    return settings.target


async def _front_page() -> dict[str, str]:
    """For the person who opens the address in a browser."""
    return {"service": "moorage", "endpoint": "/mcp", "transport": "streamable-http"}


@asynccontextmanager
async def _lifespan(app: MoorageApp) -> AsyncGenerator[None, None]:
    """Open what serving needs, in this order, and close it in the reverse: telemetry is flushed last."""
    settings: Settings = app.state.settings
    lifecycle: Lifecycle = app.state.lifecycle
    service: McpService = app.state.service
    telemetry: bootstrap.Telemetry = app.state.telemetry
    asyncio.get_running_loop().set_default_executor(DaemonExecutor())
    _tell_what_is_missing(settings, app.state.keys)
    exit_deadline = _exit_deadline(settings.drain, telemetry)
    if app.state.owns_process:
        exit_deadline.start()
    admin, running = _admin_port(app), service.running(exit_deadline.around)

    async def drain() -> None:
        if lifecycle.phase is not Phase.STARTING and lifecycle.begin_drain():
            await run_drain(drain_steps(service, settings), Budget.of(settings.drain).serving, log)

    watch = LoopWatch(settings.server.loop_blocked_seconds, running=what_runs, lagged=telemetry.instruments.loop_lagged)
    try:
        async with _ending_with_the_service(lifecycle):
            with chain_sigterm(drain, exit_deadline.begin):
                async with admin, _relay_door(app), running, supervised.Scope() as background:
                    background.restarted("api-keys", partial(_watch_keys, app.state))
                    background.restarted("threads", partial(_end_without_threads, service.threads, lifecycle))
                    with watch:
                        lifecycle.ready()
                        host, port = admin.address
                        log.info("serving.ready", server=service.name, admin=f"{host}:{port}", version=__version__)
                        exit_deadline.waits_for("calls and connections")
                        yield
                        await drain()
                    lifecycle.stopped()
    finally:
        await telemetry.shutdown(Budget.of(settings.drain).flushing)
        exit_deadline.waits_for("")


def _admin_port(app: MoorageApp) -> SideServer:
    settings: Settings = app.state.settings
    service: McpService = app.state.service
    telemetry: bootstrap.Telemetry = app.state.telemetry
    admin_app = AdminApp(
        app.state.lifecycle,
        lambda _accept: telemetry.render_metrics(),
        about(service.name, service.version),
        HostPolicy(settings.admin.allowed_hosts, addresses=True),
        checks={"threads": service.threads.trouble},
        notes=_notes(app),
    )
    http, shared = served_protocol(settings.http), settings.server.workers > 1
    return SideServer("admin", settings.admin.host, [settings.admin.port], admin_app, share_port=shared, http=http)


def _exit_deadline(settings: DrainSettings, telemetry: bootstrap.Telemetry) -> ExitDeadline:
    flushing = Budget.of(settings).flushing

    def flush() -> None:
        asyncio.run(telemetry.shutdown(flushing))  # a loop of its own: the other one may stand still

    def end() -> None:
        logs.finish()
        os._exit(0)

    return ExitDeadline(settings.budget_seconds, flushing, flush, end)


@asynccontextmanager
async def _ending_with_the_service(lifecycle: Lifecycle) -> AsyncGenerator[None, None]:
    """End the process when what it serves in fails, the team's lifespan: the server would go on without probes, drain and store.

    A task that raises `SystemExit` ends nothing but itself.
    """
    try:
        with guarded_loop():
            yield
    except Exception:  # boundary: whoever calls from outside must not find a server that answers and owns nothing
        if lifecycle.phase in (Phase.READY, Phase.DRAINING):
            log.exception("serving.failed", effect="the process ends")
            signal.raise_signal(signal.SIGTERM)
        raise


@asynccontextmanager
async def _relay_door(app: MoorageApp) -> AsyncGenerator[None, None]:
    """Open the door at which other replicas hand requests over, where there is a store; each worker has one of its own."""
    settings: Settings = app.state.settings
    service: McpService = app.state.service
    replication, relay = service.replication, settings.relay
    if replication is None:
        yield
        return
    door = Door(service, replication, app.state.observer, authenticator=app.state.authenticator, bodies=app.state.bodies)
    ports = [relay.port] if relay.port == 0 else range(relay.port, min(relay.port + settings.server.workers, _PORTS))
    http = served_protocol(settings.http, _HOP_BYTES, _HOP_FIELDS)
    async with SideServer("relay", relay.host, [*ports], door, backlog=settings.server.backlog, http=http) as server:
        host, port = server.address
        replication.address = joined(relay.advertise or host, port)
        log.info("relay.listening", address=replication.address)
        yield


def _tell_what_is_missing(settings: Settings, keys: SealingKeys) -> None:
    """Say once what several replicas lack."""
    if settings.server.replicas > 1 and not keys.shared:
        log.warning("replicas.no_shared_keys", hint="set security.sealing_keys_file: each replica refuses the others' sessions")
    if settings.server.replicas > 1 and settings.store.configured and is_loopback(settings.relay.advertise or settings.relay.host):
        log.warning("relay.unreachable", hint="set relay.host and relay.advertise: other machines cannot reach this door at loopback")
    if max(settings.server.replicas, settings.server.workers) > 1 and not settings.store.configured:
        log.warning("replicas.no_store", hint=NO_STORE_HINT)


def _notes(app: FastAPI) -> dict[str, Check]:
    """What /readyz tells whoever asks for its detail, without being unready for it."""
    settings: Settings = app.state.settings
    service: McpService = app.state.service
    several = max(settings.server.replicas, settings.server.workers) > 1
    source: KeySource | None = app.state.key_source
    sealing: SealingKeys = app.state.keys
    rotation: Rotation = app.state.rotation

    def replicas() -> str | None:
        return NO_STORE_HINT if service.replication is None and (several or service.met_another) else None

    def store() -> str | None:
        return None if service.replication is None else service.replication.trouble()

    def api_keys() -> str | None:
        return None if source is None else source.fault

    return {
        "replicas": replicas,
        "store": store,
        "background": supervised.FAULTS.restarted_lately,
        "loop": LOOP.blocked_lately,
        "api-keys": api_keys,
        "sealing-keys": lambda: sealing.fault or rotation.due(),
    }


def drain_steps(service: McpService, settings: Settings) -> Sequence[Step]:
    """What happens between SIGTERM and the end of serving; readiness is false before the first."""
    budget = Budget.of(settings.drain)
    return (
        Step("settle", lambda: asyncio.sleep(settings.drain.settle_seconds)),
        Step("refuse-sessions", _awaitable(service.refuse_sessions)),
        Step("end-streams", service.end_streams),
        Step("finish-calls", service.finish_calls, budget=budget.finishing - budget.last_calls),
        Step("finish-last-calls", service.finish_last_calls, budget=budget.last_calls),
        Step("cancel-calls", service.cancel_calls, budget=budget.cancelling),
    )


def _awaitable(action: Any) -> Any:
    async def run() -> None:
        action()

    return run


async def _watch_keys(state: Any) -> None:
    """Take up keys that were added or revoked while we run. A file is read in a thread: a disk that hangs must not hold the loop."""
    sources: list[KeySource | SealingKeys] = [source for source in (state.key_source, state.keys) if source is not None]
    while True:
        await asyncio.sleep(_KEYS_LOOKED_AT_EVERY_SECONDS)
        state.authenticator.remind()
        state.rotation.tell()
        for source in sources:
            act = await asyncio.to_thread(source.look)
            if act is not None:
                act()


async def _end_without_threads(threads: Threads, lifecycle: Lifecycle) -> None:
    """Drain and end the process when no plain function can run in it any more: nothing but a new process has threads again."""
    while True:
        await asyncio.sleep(_THREADS_LOOKED_AT_EVERY_SECONDS)
        if threads.exhausted_seconds < REPLACE_AFTER_SECONDS:
            continue
        if lifecycle.phase is Phase.READY:
            log.error("threads.process_ends", reason=threads.trouble())
            threads.refuse_waiting()
            signal.raise_signal(signal.SIGTERM)
        return

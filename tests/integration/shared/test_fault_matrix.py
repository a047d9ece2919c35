"""A fault in every named piece of background work and in every step of a call, alone and with a store, in both eras.

For each: what the caller hears, what log, metric and readiness say, and that the process serves on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import anyio
import pytest
import uvicorn

import moorage.app
import moorage.protocol.modern
import moorage.protocol.modern_call
from moorage.lifecycle.supervised import FAULTS
from moorage.protocol.call import Call, InFlight
from moorage.protocol.dispatch import Dispatcher
from moorage.protocol.exchange import HttpExchange
from moorage.protocol.feed import Feed
from moorage.protocol.notices import Notices
from moorage.protocol.reader import Reader
from moorage.protocol.replication import Replication
from moorage.protocol.service import McpService
from moorage.protocol.session_call import SessionCall
from moorage.store.bus import Bus
from moorage.store.owners import Owner
from tests.events import written
from tests.integration.shared.conftest import holds, until
from tests.integration.shared.faulty import (
    FAULTS_OF,
    assert_serves,
    begin,
    counted,
    last_message,
    raise_once,
    raise_once_static,
    serving,
    told_by_readiness,
)
from tests.services import Redis
from tests.unit.edge.conftest import header

pytestmark = pytest.mark.anyio

RESTARTED: dict[str, tuple[Any, str]] = {
    "api-keys": (moorage.app, "_watch_keys"),
    "call-ticker": (InFlight, "_tick_forever"),
    "notices": (Notices, "deliver_forever"),
    "sessions-tend": (McpService, "_tend_forever"),
    "side-server": (uvicorn.Server, "main_loop"),
    "store-beat": (Owner, "beat_forever"),
    "store-bus": (Bus, "listen_forever"),
    "store-policy": (Replication, "_look_around"),
    "threads": (moorage.app, "_end_without_threads"),
}
BESIDE_A_CALL: dict[str, tuple[Any, str]] = {"call-watch": (InFlight, "_watch"), "call-ping": (Call, "ping")}
OTHERS = {"call-unended", "client-watch", "session-claim"}
"""What has a test of its own below."""

OF_A_STORE = {"store-beat", "store-bus", "store-policy"}


@pytest.mark.parametrize("kind", FAULTS_OF)
@pytest.mark.parametrize("name", RESTARTED)
async def test_work_that_has_to_go_on_runs_again_and_log_metric_and_readiness_tell(
    name: str, kind: str, redis: Redis, store: Mapping[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store is None and name in OF_A_STORE:
        store = {"url": redis.url, "prefix": uuid4().hex[:8]}
    FAULTS._latest.clear()
    before = FAULTS.counts[name]  # type: ignore[index]
    raise_once(monkeypatch, *RESTARTED[name], FAULTS_OF[kind])
    async with serving(store) as harbour:
        await holds(lambda: FAULTS.counts[name] == before + 1)  # type: ignore[index]
        assert f"{name} failed ({kind}" in told_by_readiness(harbour.app)
        assert counted(harbour.app, name) == before + 1
        await assert_serves(harbour)


@pytest.mark.parametrize("kind", FAULTS_OF)
@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("task", BESIDE_A_CALL)
async def test_a_fault_beside_a_call_ends_that_call_with_an_answer(
    task: str, era: str, kind: str, store: Mapping[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = FAULTS.counts[task]  # type: ignore[index]
    raise_once(monkeypatch, *BESIDE_A_CALL[task], FAULTS_OF[kind])
    if task == "call-ping":  # of a session's own ping a store makes nothing: a stream in the log has readers, and they ping
        monkeypatch.setattr(SessionCall, "ping", Call.ping)
    async with serving(store) as harbour:
        with written() as events:
            message = await last_message(await begin(harbour, era, "reports"))
        assert (message["id"], message["error"]["code"]) == (1, -32603)
        assert FAULTS.counts[task] == before + 1  # type: ignore[index]
        assert [event["task"] for event in events if event["event"] == "background.failed"] == [task]
        harbour.release.set()
        await assert_serves(harbour)


STEPS: dict[str, tuple[Any, str]] = {
    "early-open": (SessionCall, "open_early"),
    "answer-stream": (Reader, "serve"),
    "event": (Feed, "_append"),
    "end-of-stream": (Dispatcher, "_end_stream"),
}


@pytest.mark.parametrize("kind", FAULTS_OF)
@pytest.mark.parametrize("step", STEPS)
async def test_a_fault_in_a_step_of_a_call_with_a_log_is_answered(
    step: str, kind: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_once(monkeypatch, *STEPS[step], FAULTS_OF[kind])
    async with serving({"url": redis.url, "prefix": uuid4().hex[:8]}) as harbour:
        exchange = await begin(harbour, "legacy", "wait" if step == "early-open" else "reports")
        if step in ("end-of-stream", "event"):
            harbour.release.set()
        message = await last_message(exchange)
        assert message["id"] == 1
        assert message.get("error", {}).get("code") == -32603 or message["result"]["isError"]
        harbour.release.set()
        await assert_serves(harbour)


@pytest.mark.parametrize("kind", FAULTS_OF)
@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_fault_while_answering_is_answered(
    era: str, kind: str, streamed: bool, store: Mapping[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, name = (moorage.protocol.modern, "respond") if era == "modern" else (Dispatcher, "_respond")
    async with serving(store) as harbour:
        harbour.release.set()
        raise_once_static(monkeypatch, where, name, FAULTS_OF[kind])
        message = await last_message(await begin(harbour, era, "reports" if streamed else "quick"))
        assert (message["id"], message["error"]["code"]) == (1, -32603)
        await assert_serves(harbour)


@pytest.mark.parametrize("kind", FAULTS_OF)
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_fault_while_answering_for_a_tool_that_resists_its_interruption_is_answered(
    era: str, kind: str, store: Mapping[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, name = (moorage.protocol.modern_call, "respond") if era == "modern" else (Dispatcher, "_respond")
    async with serving(store) as harbour:
        raise_once(monkeypatch, where, name, FAULTS_OF[kind])
        exchange = await begin(harbour, era, "resists")
        await harbour.arrived.wait()
        harbour.app.state.service.in_flight.cancel_all()
        await until(exchange, lambda it: b"-32603" in it.body)
        harbour.release.set()
        message = await last_message(exchange)
        assert (message["id"], message["error"]["code"]) == (1, -32603)
        await assert_serves(harbour)


@pytest.mark.parametrize("kind", FAULTS_OF)
async def test_the_handler_of_a_notification_that_raises_is_told_in_the_log_and_ends_nothing(
    kind: str, store: Mapping[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_once(monkeypatch, Dispatcher, "_notify", FAULTS_OF[kind])
    async with serving(store) as harbour:
        session = header(await harbour.session(), "mcp-session-id")
        assert session is not None
        with written() as events:
            told = harbour.legacy(session, {"method": "notifications/initialized"})
            await told.finished()
            await holds(lambda: not harbour.app.state.service.in_flight.calls)
        assert told.status == 202
        assert [event["event"] for event in events if event["level"] == "error"] == ["mcp.notification_failed"]
        await assert_serves(harbour)


async def test_a_claim_that_fails_is_its_requests_error(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    from moorage.store.sessions import SessionStore

    async with serving({"url": redis.url, "prefix": uuid4().hex[:8]}) as harbour:
        session = header(await harbour.session(), "mcp-session-id")
        assert session is not None
        harbour.app.state.service._the_legacy.home.lapse()
        raise_once(monkeypatch, SessionStore, "claim", FAULTS_OF["SystemExit"])
        before = FAULTS.counts["session-claim"]
        failed = harbour.legacy(session, {"id": 1, "method": "ping"})
        await failed.finished()
        assert (failed.status, json.loads(failed.body)["id"], json.loads(failed.body)["error"]["code"]) == (200, 1, -32603)
        assert FAULTS.counts["session-claim"] == before + 1
        again = harbour.legacy(session, {"id": 2, "method": "ping"})
        await again.finished()
        assert again.status == 200


async def test_a_client_watch_that_fails_ends_the_get_stream_alone(
    store: Mapping[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store) as harbour:
        session = header(await harbour.session(), "mcp-session-id")
        assert session is not None
        raise_once(monkeypatch, HttpExchange, "disconnected", FAULTS_OF["RuntimeError"])
        before = FAULTS.counts["client-watch"]
        stream = harbour.open("GET", {"mcp-session-id": session, "accept": "text/event-stream"})
        with anyio.fail_after(10):
            await stream.finished()
        assert FAULTS.counts["client-watch"] == before + 1
        await assert_serves(harbour)

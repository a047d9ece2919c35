"""Whatever fails after a call's tool ran, its caller gets one answer under the call's id, on the stream it reads or comes back to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import pytest

import moorage.protocol.dispatch
import moorage.protocol.feed
import moorage.protocol.modern
import moorage.protocol.modern_call
from moorage.lifecycle.supervised import FAULTS
from moorage.protocol import orphans
from moorage.protocol.alone import AloneHome
from moorage.protocol.call import Call
from moorage.protocol.dispatch import Dispatcher
from moorage.protocol.feed import OUTCOME_UNKNOWN, Feed
from moorage.protocol.session_call import SessionCall
from moorage.protocol.shared import SharedHome
from tests.comparison.wire import Exchange
from tests.events import written
from tests.integration.shared.conftest import Replica, Start, events, holds, lose, ping, until
from tests.integration.shared.faulty import FAULTS_OF, assert_serves, begin, open_session, raise_once, serving
from tests.services import Redis

pytestmark = pytest.mark.anyio

AFTER_THE_TOOL: dict[str, tuple[Any, str]] = {
    "answer": (Dispatcher, "_end_stream"),
    "append": (Feed, "_append"),
    "log": (moorage.protocol.dispatch.log, "info"),
}
AROUND_AN_ORPHAN = {
    **AFTER_THE_TOOL,
    "look": (Dispatcher, "_repeatable"),
    "read": (Feed, "read"),
    "run": (Dispatcher, "run"),
    "seen": (orphans, "progress_seen"),
}


def finals(exchange: Exchange) -> list[dict[str, Any]]:
    """The answers that a caller was given, on a stream or as one document."""
    if exchange.body.startswith(b"{"):
        return [json.loads(exchange.body)]
    data = [line[5:] for line in exchange.body.decode().splitlines() if line.startswith("data:") and line[5:].strip()]
    return [message for message in map(json.loads, data) if "result" in message or "error" in message]


def fail_once(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, make: Callable[[], BaseException]) -> list[str]:
    """Have a function raise when it is called for the first time (an append: of an answer); whether it did is told by the list."""
    original, raised = getattr(where, name), list[str]()

    def once(*args: Any, **kwargs: Any) -> Any:
        if not raised and (name != "_append" or any(write.kind == "last" for write in args[1:])):
            raised.append(name)
            raise make()
        return original(*args, **kwargs)

    static = isinstance(vars(where).get(name), staticmethod) if isinstance(where, type) else False
    monkeypatch.setattr(where, name, staticmethod(once) if static else once)
    return raised


async def left_in_the_middle(replica: Replica, session: str, tool: str) -> str:
    """Begin a call and leave after its first event; returns the position to come back with."""
    call = replica.call(session, tool)
    await until(call, lambda it: b"notifications/progress" in it.body)
    call.leave()
    return events(call)[-1][0]


@pytest.mark.parametrize("kind", FAULTS_OF)
@pytest.mark.parametrize("step", AROUND_AN_ORPHAN)
@pytest.mark.parametrize("comes_back", ["before the fault", "after the fault"])
async def test_a_client_that_comes_back_for_a_call_whose_settling_fails_gets_one_error_under_its_id(
    step: str, kind: str, comes_back: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await start(), await start()
    session = await old.begin()
    position = await left_in_the_middle(old, session, "again")
    await lose(old)
    before = FAULTS.counts["orphan"]
    where, name = AROUND_AN_ORPHAN[step]
    if name == "_repeatable":  # an attribute of the object
        where = new.service._the_legacy._dispatcher
    late = comes_back == "after the fault"
    if late or step not in AFTER_THE_TOOL:
        new.release.set()
        raised = fail_once(monkeypatch, where, name, FAULTS_OF[kind])
        resumed = new.listen(session, "" if late else position)
        if late:
            await holds(lambda: FAULTS.counts["orphan"] == before + 1)
            resumed.leave()
            resumed = new.listen(session, position)
    else:
        resumed = new.listen(session, position)
        await until(resumed, lambda it: b"id: " in it.body)
        await holds(new.arrived.is_set)
        raised = fail_once(monkeypatch, where, name, FAULTS_OF[kind])
        new.release.set()
    await resumed.finished()

    assert raised
    assert [(it["id"], it["error"]["code"]) for it in finals(resumed)] == [(1, -32603)]
    await holds(lambda: FAULTS.counts["orphan"] == before + 1)
    assert (await ping(new, session)) == 200
    old.release.set()


@pytest.mark.parametrize("tool", ["again", "once"])
async def test_a_client_whose_answer_the_log_does_not_take_at_all_comes_back_for_it(
    tool: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await start(), await start()
    session = await old.begin()
    position = await left_in_the_middle(old, session, tool)
    await lose(old)
    new.release.set()
    append, broken = Feed._append, [True]

    async def fails(self: Feed, *writes: Any) -> int:
        if broken and any(write.kind == "last" for write in writes):
            raise RuntimeError("injected")
        return await append(self, *writes)

    monkeypatch.setattr(Feed, "_append", fails)
    with written() as told:
        resumed = new.listen(session, position)
        await resumed.finished()
    assert finals(resumed) == []
    assert [event["effect"] for event in told if event["event"] == "mcp.answer_failed"] == ["the session is given up"]

    broken.clear()
    again = new.listen(session, position)
    await again.finished()
    [answer] = finals(again)
    assert answer["id"] == 1
    assert "result" in answer if tool == "again" else answer["error"]["code"] == OUTCOME_UNKNOWN
    old.release.set()


async def test_a_registration_that_cannot_be_read_makes_its_stream_one_that_is_gone(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = await start(), await start()
    session = await old.begin()
    position = await left_in_the_middle(old, session, "once")
    await lose(old)
    raised = fail_once(monkeypatch, orphans, "registered", FAULTS_OF["RecursionError"])
    before = FAULTS.counts["orphan"]
    assert (await ping(new, session)) == 200
    await holds(lambda: FAULTS.counts["orphan"] == before + 1)
    assert raised

    resumed = new.listen(session, position)
    await resumed.finished()
    assert (resumed.status, json.loads(resumed.body)["error"]["code"]) == (404, -32010)
    old.release.set()


@pytest.mark.parametrize("kind", FAULTS_OF)
@pytest.mark.parametrize("step", AFTER_THE_TOOL)
async def test_a_client_that_came_back_for_a_call_that_fails_after_its_tool_gets_one_answer(
    step: str, kind: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await start()
    session = await replica.begin()
    position = await left_in_the_middle(replica, session, "once")
    resumed = replica.listen(session, position)
    await until(resumed, lambda it: b"id: " in it.body)
    where, name = AFTER_THE_TOOL[step]
    if step == "log":  # what comes after the answer was kept
        where, name = Feed, "_show"
    raised = fail_once(monkeypatch, where, name, FAULTS_OF[kind])
    replica.release.set()
    await resumed.finished()

    assert raised
    if step == "log":  # the log has the answer: the stream ends with a hint to come back for it
        assert finals(resumed) == []
        assert b"retry: " in resumed.body
        resumed = replica.listen(session, position)
        await resumed.finished()
    [answer] = finals(resumed)
    assert answer["id"] == 1
    assert "result" in answer if step == "log" else answer["error"]["code"] == -32603
    assert (await ping(replica, session)) == 200


STEPS_OF_A_CALL: dict[str, tuple[str, Any, str]] = {
    "progress": ("both", Call, "progress"),
    "modern write": ("modern", Call, "write"),
    "legacy write": ("legacy", SessionCall, "emit"),
    "modern encode": ("modern", moorage.protocol.modern_call, "encode_answer"),
    "legacy encode": ("legacy", moorage.protocol.dispatch, "encode_answer"),
    "logged encode": ("legacy", moorage.protocol.feed, "encode_answer"),
    "modern respond": ("modern", moorage.protocol.modern, "respond"),
    "legacy respond": ("legacy", Dispatcher, "_respond"),
    "legacy run": ("legacy", Dispatcher, "run"),
}
STREAMED = ("progress", "modern write", "legacy write", "logged encode")
"""Steps that a call has which says something while it runs."""

CASES = [
    (era, step, tool)
    for step, (eras, _, _) in STEPS_OF_A_CALL.items()
    for era in ("modern", "legacy")
    if eras in ("both", era)
    for tool in (["reports"] if step in STREAMED else ["quick", "fails"] if step == "legacy encode" else ["reports", "quick", "fails"])
]


@pytest.mark.parametrize("kind", FAULTS_OF)
@pytest.mark.parametrize(("era", "step", "tool"), CASES)
async def test_a_fault_in_any_step_of_a_call_leaves_its_caller_with_one_answer(
    era: str, step: str, tool: str, kind: str, store: Mapping[str, Any] | None, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    if step == "logged encode":
        store = store or {"url": redis.url, "prefix": uuid4().hex[:8]}
    async with serving(store) as harbour:
        harbour.release.set()
        _, where, name = STEPS_OF_A_CALL[step]
        session = await open_session(harbour)  # before the fault: to begin a session has steps of its own
        raised = fail_once(monkeypatch, where, name, FAULTS_OF[kind])
        exchange = await begin(harbour, era, tool, session)
        await exchange.finished()
        assert raised
        [answer] = finals(exchange)
        assert answer["id"] == 1
        assert exchange.complete
        await assert_serves(harbour)


@pytest.mark.parametrize("kind", FAULTS_OF)
async def test_a_fault_while_a_session_begins_is_answered_under_the_id_of_its_request(
    kind: str, store: Mapping[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_once(monkeypatch, AloneHome if store is None else SharedHome, "admit", FAULTS_OF[kind])
    async with serving(store) as harbour:
        failed = await harbour.session()
        assert failed.status == 200
        assert [(it["id"], it["error"]["code"]) for it in finals(failed)] == [(0, -32603)]
        await assert_serves(harbour)

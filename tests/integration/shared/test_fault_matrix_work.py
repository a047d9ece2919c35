"""The fault matrix, second half: the work on one session, on a relayed request and on a drain, and that no name is missing."""

from __future__ import annotations

import ast
import signal
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any, get_args

import pytest
from mcp.server.subscriptions import ToolsListChanged

import moorage
from moorage.lifecycle.supervised import FAULTS, TaskName
from moorage.protocol import forward
from moorage.protocol.dispatch import Dispatcher
from moorage.protocol.notices import Notices
from moorage.protocol.shared import SharedHome
from tests.events import written
from tests.integration.serving import Legacy, answer, client, modern, serving
from tests.integration.shared.conftest import Replica, Start, events, holds, lose, ping, until
from tests.integration.shared.faulty import FAULTS_OF, counted, raise_once, told_by_readiness
from tests.integration.shared.test_fault_matrix import BESIDE_A_CALL, OTHERS, RESTARTED, STEPS

pytestmark = pytest.mark.anyio

ON_A_SESSION: dict[str, tuple[Any, str]] = {
    "notices-missed": (Notices, "_tell_missed"),
    "orphan": (Dispatcher, "settle"),
    "relay-watch": (forward, "_believed"),
    "session-announce": (SharedHome, "_announce"),
    "session-hand-over": (SharedHome, "_leave"),
    "session-tend": (SharedHome, "_tend"),
}
OF_A_DRAIN = {"drain": ("moorage.app", "run_drain"), "drain-step": ("moorage.protocol.service:McpService", "end_streams")}
REPORTED = {"loop", "loop-watch"}
"""Names under which faults are counted of what is no task of ours."""

SOURCES = [path for path in Path(moorage.__file__).parent.rglob("*.py") if path.name != "supervised.py"]


def started() -> Iterator[str]:
    """The name of every task that the service starts: the first argument of each call of a starter.

    A function that only passes a name on is a starter as well; it may be one level deep.
    """
    trees = [ast.parse(path.read_text()) for path in SOURCES]
    starters = {"contained", "restarted"}
    passing = {
        function.name
        for tree in trees
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for call in calls_of(starters, function)
        if isinstance(call.args[0], ast.Name) and call.args[0].id in {argument.arg for argument in function.args.args}
    }
    for tree in trees:
        for call in calls_of(starters | passing, tree):
            match call.args[0]:
                case ast.Constant(value=str(name)):
                    yield name
                case ast.Name(id=name):
                    assert name == "name", f"line {call.lineno}: a task's name is a literal, or a parameter called `name`"
                case other:
                    raise AssertionError(f"line {call.lineno}: {ast.unparse(other)} is no name that can be read here")


def calls_of(names: set[str], tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in names:
                yield node
            case _:
                pass


def test_the_matrix_has_every_piece_of_work_that_the_service_starts() -> None:
    names = set(started())
    assert len(names) > 20
    assert names == {*RESTARTED, *BESIDE_A_CALL, *OTHERS, *ON_A_SESSION, *OF_A_DRAIN, *(set(STEPS) - {"end-of-stream"})}
    assert names | REPORTED == set(get_args(TaskName))


class Fault:
    """One fault in one piece of work, and what is told of it."""

    def __init__(self, task: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.task = task
        self.kind = kind
        self.before = FAULTS.counts[task]  # type: ignore[index]
        FAULTS._latest.clear()
        raise_once(monkeypatch, *ON_A_SESSION[task], FAULTS_OF[kind])

    async def is_told(self, replica: Replica, told: list[dict[str, Any]] | None = None) -> None:
        await holds(lambda: FAULTS.counts[self.task] == self.before + 1)  # type: ignore[index]
        assert counted(replica.app, self.task) == self.before + 1
        assert self.task not in told_by_readiness(replica.app)  # it does not run again: readiness has nothing to say

    def was_logged(self, told: list[dict[str, Any]]) -> None:
        logged = [event for event in told if event["event"] == "background.failed"]
        assert [event["task"] for event in logged] == [self.task]
        assert self.kind in logged[0]["exception"]


@pytest.mark.parametrize("kind", FAULTS_OF)
async def test_a_fault_in_tending_a_session_concerns_that_session_alone(kind: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = await start()
    sessions = [await replica.begin() for _ in range(3)]
    with written() as told:
        fault = Fault("session-tend", kind, monkeypatch)
        for session in replica.service._sessions():
            session.last_kept = -inf  # each is due
        await fault.is_told(replica)
        await holds(lambda: all(session.last_kept > 0 for session in replica.service._sessions()))
        assert replica.service.open_sessions == 2
    fault.was_logged(told)
    assert [await ping(replica, session) for session in sessions] == [200, 200, 200]
    assert replica.service.open_sessions == 3


@pytest.mark.parametrize("kind", FAULTS_OF)
async def test_a_fault_in_handing_a_session_over_keeps_no_other_from_its_next_owner(
    kind: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = await start(), await start()
    sessions = [await owner.begin() for _ in range(3)]
    with written() as told:
        fault = Fault("session-hand-over", kind, monkeypatch)
        owner.service.refuse_sessions()
        await owner.service.end_streams()
        await fault.is_told(owner)
    fault.was_logged(told)
    assert owner.service.open_sessions == 0
    assert [await ping(other, session) for session in sessions] == [200, 200, 200]


@pytest.mark.parametrize("kind", FAULTS_OF)
async def test_a_fault_in_announcing_a_session_leaves_it_served(kind: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = await start(), await start()
    session = await old.begin()
    await lose(old)
    with written() as told:
        fault = Fault("session-announce", kind, monkeypatch)
        assert await ping(new, session) == 200
        await fault.is_told(new)
    fault.was_logged(told)
    assert await ping(new, session) == 200


@pytest.mark.parametrize("kind", FAULTS_OF)
async def test_a_fault_in_telling_what_was_missed_has_the_session_claimed_and_told_anew(
    kind: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await start(), await start()
    session = await old.begin()
    listening = old.listen(session)
    await until(listening, lambda it: b"id: " in it.body)
    position = events(listening)[0][0]
    await lose(old)
    await listening.finished()
    await new.service._notices.publish(ToolsListChanged())
    with written() as told:
        fault = Fault("notices-missed", kind, monkeypatch)
        assert await ping(new, session) == 200  # claimed, and let go of by the fault
        await fault.is_told(new)
    fault.was_logged(told)
    again = new.listen(session, position)
    await until(again, lambda it: b"tools/list_changed" in it.body)


@pytest.mark.parametrize("kind", FAULTS_OF)
async def test_a_fault_in_settling_an_orphan_is_told(kind: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its client gets: see test_one_end."""
    old, new = await start(), await start()
    session = await old.begin()
    call = old.call(session, "once")
    await until(call, lambda it: b"notifications/progress" in it.body)
    call.leave()
    await lose(old)
    with written() as told:
        fault = Fault("orphan", kind, monkeypatch)
        assert await ping(new, session) == 200
        await fault.is_told(new)
    fault.was_logged(told)
    assert await ping(new, session) == 200
    old.release.set()


@pytest.mark.parametrize("kind", FAULTS_OF)
async def test_a_fault_in_watching_an_owner_cuts_the_relayed_stream_and_its_client_comes_back(
    kind: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = await start(), await start(sessions={"lease_seconds": 2})
    session = await owner.begin()
    with written() as told:
        fault = Fault("relay-watch", kind, monkeypatch)
        call = other.call(session, "once")
        await fault.is_told(other)
        await call.finished()
    fault.was_logged(told)
    assert not call.complete  # a polite end would complete what the owner had begun to say
    position = events(call)[-1][0]
    resumed = other.listen(session, position)
    owner.release.set()
    await until(resumed, lambda it: b'"result"' in it.body)
    assert events(resumed)[-1][1]["id"] == 1
    assert owner.runs["once"] == 1


@pytest.mark.parametrize("kind", FAULTS_OF)
@pytest.mark.parametrize("name", OF_A_DRAIN)
async def test_a_drain_that_fails_and_one_whose_step_fails_end_the_process_with_0(name: str, kind: str, tmp_path: Path) -> None:
    place, attribute = OF_A_DRAIN[name]
    module, _, owner = place.partition(":")
    target = tmp_path / "breaking.py"
    where = f"{module}.{owner}" if owner else module
    target.write_text(
        "from mcp.server.mcpserver import MCPServer\n"
        f"import {module}\n\n"
        "mcp = MCPServer('breaking')\n\n\n"
        "async def fails(*args, **kwargs):\n"
        f"    raise {kind}({'3' if kind == 'SystemExit' else repr('injected')})\n\n\n"
        f"{where}.{attribute} = fails\n"
    )
    async with serving("moorage", target=target, DRAIN__BUDGET_SECONDS="10") as server, client() as http:
        await Legacy.begin(http, server.url)
        body, headers = modern("tools/list", {}, 1)
        assert answer(await http.post(f"{server.url}/mcp", json=body, headers=headers))["result"]["tools"] == []
        server.signal(signal.SIGTERM)
        assert await server.exit_code(within=10) == 0
        await server.ended()
    told = server.events()
    failed = [event for event in told if event["event"] == "background.failed"]
    assert [event["task"] for event in failed] == [name]
    assert kind in failed[0]["exception"]
    if name == "drain-step":
        steps = [(event["step"], event["result"]) for event in told if event["event"] == "drain.step"]
        assert [result for step, result in steps if step == "end-streams"] == ["failed"]
        assert {step: result for step, result in steps if step != "end-streams"} == dict.fromkeys(
            ("settle", "refuse-sessions", "finish-calls", "finish-last-calls", "cancel-calls"), "done"
        )

"""A process that is full of one principal's work still serves the others, and whatever lets work end gets in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest

from moorage.security.api_keys import stored_line
from tests.comparison.wire import Exchange
from tests.unit.edge.conftest import MODERN, Harbour, Start, header
from tests.unit.edge.test_sessions import begun, call, sse

pytestmark = pytest.mark.anyio

TOKENS = {name: f"moor_{name[0] * 43}" for name in ("alice", "bob")}
KEYS = {"api_keys": "\n".join(stored_line(name, token) for name, token in TOKENS.items())}
ALICE, BOB = ({"authorization": f"Bearer {token}"} for token in TOKENS.values())


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not holds():
            await anyio.sleep(0)


async def waiting(harbour: Harbour, count: int, headers: Mapping[str, str | None] | None = None) -> list[Exchange]:
    """That many calls that wait for `release`."""
    budgets = harbour.app.state.service.budgets
    wanted = budgets.calls + count
    calls = [harbour.modern("wait", headers) for _ in range(count)]
    await until(lambda: budgets.calls == wanted)
    return calls


async def answered(exchange: Exchange) -> Exchange:
    with anyio.fail_after(10):
        await exchange.finished()
    return exchange


def refusal(exchange: Exchange) -> tuple[int | None, int, str]:
    """Status, code and reason."""
    body = json.loads(exchange.body)["error"]
    return exchange.status, body["code"], body["data"]["reason"]


# Calls


async def test_one_principal_holds_all_but_the_reserve_and_the_others_are_served(start: Start) -> None:
    harbour = await start(security=KEYS, http={"max_in_flight": 8})
    held = await waiting(harbour, 6, ALICE)
    assert refusal(await answered(harbour.modern("quick", ALICE))) == (429, -32012, "calls_share")
    assert (await answered(harbour.modern("quick", BOB))).status == 200
    harbour.release.set()
    assert [(await answered(each)).status for each in held] == [200] * 6


async def test_alone_a_principal_may_use_everything(start: Start) -> None:
    harbour = await start(http={"max_in_flight": 4})
    held = await waiting(harbour, 4)
    assert refusal(await answered(harbour.modern("quick"))) == (503, -32012, "calls_limit")
    harbour.release.set()
    assert [(await answered(each)).status for each in held] == [200] * 4


async def test_within_a_session_what_is_refused_is_a_json_rpc_error_so_that_no_client_ends_the_session(start: Start) -> None:
    harbour = await start(security=KEYS, http={"max_in_flight": 4})
    session = await begun(harbour, ALICE)
    await waiting(harbour, 3, ALICE)
    refused = await answered(harbour.legacy(session, call("quick", 7), ALICE))
    assert json.loads(refused.body) == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {
            "code": -32012,
            "message": "Too many calls of this principal in this process: try again when some have ended",
            "data": {"reason": "calls_share", "retryAfterSeconds": 1},
        },
    }
    assert (refused.status, header(refused, "retry-after"), header(refused, "mcp-session-id")) == (200, "1", session)
    harbour.release.set()


async def test_a_session_that_cannot_be_opened_now_is_refused_by_status(start: Start) -> None:
    harbour = await start(http={"max_in_flight": 1})
    await waiting(harbour, 1)
    assert refusal(await harbour.session()) == (503, -32012, "calls_limit")
    harbour.release.set()


async def test_answers_cancellations_notifications_and_ends_get_into_a_full_process(start: Start) -> None:
    harbour = await start(http={"max_in_flight": 2})
    asked, cancelled, ended = [await begun(harbour) for _ in range(3)]
    asking = harbour.legacy(asked, call("berth"))
    question = await sse(asking)
    long = harbour.legacy(cancelled, call("wait", 2))
    await until(lambda: harbour.app.state.service.budgets.calls == 2)
    assert refusal(await answered(harbour.legacy(ended, call("quick"))))[2] == "calls_limit"
    assert (await answered(harbour.legacy(ended, {"method": "notifications/roots/list_changed"}))).status == 202
    notice = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
    assert (await harbour.ask("POST", {"mcp-protocol-version": MODERN}, notice)).status == 202
    assert (await harbour.ask("POST", {"mcp-protocol-version": MODERN}, {**notice, "method": "tools/call", "id": 1})).status == 503
    assert (await harbour.ask("DELETE", {"mcp-session-id": ended})).status == 200
    cancel = harbour.legacy(cancelled, {"method": "notifications/cancelled", "params": {"requestId": 2}})
    assert (await answered(cancel)).status == 202
    await answered(long)
    reply = harbour.legacy(asked, {"id": question["id"], "result": {"action": "accept", "content": {"name": "Rose"}}})
    assert (await answered(reply)).status == 202
    assert (await sse(asking))["id"] == 1
    assert harbour.app.state.service.budgets.calls == 0


# Bodies


class Upload:
    """A body that comes in parts, when it is told to."""

    def __init__(self, harbour: Harbour, declared: int | None, headers: dict[str, str]) -> None:
        self.sent: list[dict[str, Any]] = []
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        fields = {"host": "localhost", "content-type": "application/json", **headers}
        fields |= {"transfer-encoding": "chunked"} if declared is None else {"content-length": str(declared)}
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": "/mcp",
            "server": ("127.0.0.1", 8000),
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        }
        self.app = harbour.app

    async def run(self) -> None:
        async def receive() -> dict[str, Any]:
            part = await self._parts.get()
            return {"type": "http.disconnect"} if part is None else {"type": "http.request", "body": part, "more_body": True}

        async def send(message: Any) -> None:
            self.sent.append(message)

        await self.app(self.scope, receive, send)

    def part(self, data: bytes) -> None:
        self._parts.put_nowait(data)

    def leave(self) -> None:
        self._parts.put_nowait(None)

    @property
    def refused(self) -> tuple[int, str, bool] | None:
        """Status, reason, and whether the connection closes."""
        if not self.sent:
            return None
        headers = dict(self.sent[0]["headers"])
        reason = json.loads(self.sent[1]["body"])["error"]["data"]["reason"]
        return self.sent[0]["status"], reason, headers.get(b"connection") == b"close"


KIB = 1024
BODIES = {"max_body_bytes": 256 * KIB, "max_bodies_bytes": 1024 * KIB, "max_bodies": 8}


@pytest.mark.parametrize("declared", [200 * KIB, None])
async def test_unfinished_uploads_of_one_principal_hold_no_more_than_its_share_of_bytes(start: Start, declared: int | None) -> None:
    harbour = await start(security=KEYS, http=BODIES)
    bodies = harbour.app.state.bodies
    uploads = [Upload(harbour, declared, ALICE) for _ in range(6)]
    async with anyio.create_task_group() as tasks:
        for upload in uploads:
            tasks.start_soon(upload.run)
        for upload in uploads:
            upload.part(b"x" * 100 * KIB)
            upload.part(b"x" * 99 * KIB)
        await until(lambda: sum(upload.refused is not None for upload in uploads) == 3)
        assert bodies.count == 3
        assert bodies.bytes <= 672 * KIB, "three quarters of the seven eighths that are not kept for small bodies"
        assert {upload.refused for upload in uploads} == {None, (429, "bodies_share", True)}
        other = Upload(harbour, 200 * KIB, BOB)
        tasks.start_soon(other.run)
        await until(lambda: bodies.count == 4)
        assert other.refused is None
        for upload in (*uploads, other):
            upload.leave()
    assert (bodies.count, bodies.bytes) == (0, 0)


async def test_beside_large_uploads_small_bodies_get_in(start: Start) -> None:
    harbour = await start(http=BODIES)
    uploads = [Upload(harbour, 200 * KIB, {}) for _ in range(5)]
    async with anyio.create_task_group() as tasks:
        for upload in uploads:
            tasks.start_soon(upload.run)
        await until(lambda: any(upload.refused for upload in uploads))
        assert [upload.refused for upload in uploads if upload.refused] == [(503, "bodies_limit", True)]
        assert (await answered(harbour.modern("quick"))).status == 200
        for upload in uploads:
            upload.leave()


async def test_bodies_that_never_begin_are_counted_too(start: Start) -> None:
    harbour = await start(security=KEYS, http=BODIES)
    uploads = [Upload(harbour, 100, ALICE) for _ in range(8)]
    async with anyio.create_task_group() as tasks:
        for upload in uploads:
            tasks.start_soon(upload.run)
        await until(lambda: sum(upload.refused is not None for upload in uploads) == 2)
        assert (await answered(harbour.modern("quick", BOB))).status == 200
        for upload in uploads:
            upload.leave()


# Streams, questions, sessions


async def test_streams_of_both_eras_share_one_bound_and_leave_a_reserve(start: Start) -> None:
    harbour = await start(security=KEYS, sessions={"max_streams": 4})
    mine = await begun(harbour, ALICE)
    get = harbour.open("GET", {"mcp-session-id": mine, **ALICE})
    await get.started()
    listens = [harbour.modern("", ALICE, "subscriptions/listen", notifications={"toolsListChanged": True}) for _ in range(2)]
    await until(lambda: harbour.app.state.service.open_streams == 3)
    another = await answered(harbour.modern("", ALICE, "subscriptions/listen", notifications={"toolsListChanged": True}))
    assert refusal(another) == (429, -32012, "stream_share")
    assert refusal(await harbour.ask("GET", {"mcp-session-id": mine, **ALICE}))[2] == "stream_share"
    theirs = harbour.open("GET", {"mcp-session-id": await begun(harbour, BOB), **BOB})
    await theirs.started()
    assert theirs.status == 200
    for stream in (get, *listens, theirs):
        stream.leave()
        await answered(stream)
    assert harbour.app.state.service.open_streams == 0


async def test_a_question_that_no_stream_can_carry_ends_after_the_gap(start: Start) -> None:
    harbour = await start(sessions={"question_gap_seconds": 1})
    session = await begun(harbour)
    asking = harbour.legacy(session, call("berth"))
    await sse(asking)
    asking.leave()
    await until(lambda: harbour.app.state.service.budgets.questions.total == 1)
    with anyio.fail_after(20):
        while harbour.app.state.service.budgets.calls:
            await anyio.sleep(0.02)
    assert harbour.app.state.service.budgets.questions.total == 0


async def test_a_question_whose_stream_is_read_waits_longer_than_the_gap(start: Start) -> None:
    harbour = await start(sessions={"question_gap_seconds": 1})
    session = await begun(harbour)
    asking = harbour.legacy(session, call("berth"))
    question = await sse(asking)
    legacy = harbour.app.state.service._the_legacy
    [living] = legacy.home.sessions()
    for seconds in (0, 10, 20):
        living.end_unheard_questions(legacy.home.clock() + seconds)
    await answered(harbour.legacy(session, {"id": question["id"], "result": {"action": "decline"}}))
    assert (await sse(asking))["id"] == 1


@pytest.mark.parametrize("tool", ["berth_later", "berth_at_last"])
async def test_a_question_whose_call_has_its_answer_ends_after_the_gap(start: Start, tool: str) -> None:
    harbour = await start(sessions={"question_gap_seconds": 60}, calls={"deadline_seconds": 1})
    session, questions = await begun(harbour), harbour.app.state.service.budgets.questions
    asking = harbour.legacy(session, call(tool))
    await until(lambda: questions.total == 1)
    if tool == "berth_later":
        harbour.release.set()
    await until(lambda: b'"id":1,' in asking.body)
    legacy = harbour.app.state.service._the_legacy
    [living] = legacy.home.sessions()
    living.end_unheard_questions(legacy.home.clock())
    living.end_unheard_questions(legacy.home.clock() + 59)
    assert questions.total == 1
    living.end_unheard_questions(legacy.home.clock() + 61)
    assert harbour.background is not None
    await until(harbour.background.done)
    assert "No stream of the client could carry the question for 60 seconds" in str(harbour.background.exception())
    assert questions.total == 0
    await until(lambda: living.idle)


async def test_questions_are_bounded_and_the_tool_that_asks_one_more_gets_an_error(start: Start) -> None:
    harbour = await start(sessions={"max_questions": 1})
    session = await begun(harbour)
    first = harbour.legacy(session, call("berth", 1))
    question = await sse(first)
    second = await answered(harbour.legacy(session, call("berth", 2)))
    assert refusal(second) == (200, -32012, "questions_limit")
    await answered(harbour.legacy(session, {"id": question["id"], "result": {"action": "decline"}}))
    assert (await sse(first))["id"] == 1


async def test_a_deleted_session_ends_its_questions(start: Start) -> None:
    harbour = await start()
    session = await begun(harbour)
    asking = harbour.legacy(session, call("berth"))
    await sse(asking)
    assert (await harbour.ask("DELETE", {"mcp-session-id": session})).status == 200
    await answered(asking)
    assert harbour.app.state.service.budgets.questions.total == 0


async def test_one_principal_does_not_take_all_sessions_of_a_process(start: Start) -> None:
    harbour = await start(security=KEYS, sessions={"max_sessions": 4, "max_sessions_per_principal": 1000})
    for _ in range(3):
        await begun(harbour, ALICE)
    assert refusal(await harbour.session(ALICE)) == (429, -32012, "session_share")
    assert (await harbour.session(BOB)).status == 200
    assert refusal(await harbour.session(BOB)) == (503, -32012, "session_limit")


async def test_a_refusal_has_its_reason_in_the_metrics(start: Start) -> None:
    harbour = await start(http={"max_in_flight": 1})
    session = await begun(harbour)
    await waiting(harbour, 1)
    await answered(harbour.legacy(session, call("quick")))
    _, metrics = harbour.app.state.telemetry.render_metrics()
    harbour.release.set()
    line = next(line for line in metrics.decode().splitlines() if line.startswith("moorage_refusals") and "calls_limit" in line)
    assert ('http_response_status_code="200"' in line, line.endswith(" 1.0")) == (True, True)


async def test_a_bodies_bound_that_holds_no_four_bodies_stops_the_start(start: Start) -> None:
    with pytest.raises(ValueError, match=r"http.max_bodies_bytes=.* set it to at least"):
        await start(http={"max_body_bytes": 1024 * KIB, "max_bodies_bytes": 2048 * KIB})

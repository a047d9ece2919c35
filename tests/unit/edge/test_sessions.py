"""Sessions of the handshake era: bounded, private to their principal, and gone when they end."""

from __future__ import annotations

import gc
import json

import anyio
import pytest

from moorage.protocol.exchange import HttpExchange
from moorage.protocol.session import Session
from moorage.security.api_keys import stored_line
from tests.comparison.wire import Exchange
from tests.unit.edge.conftest import Harbour, Start, error, header

pytestmark = pytest.mark.anyio

ALICE = {"authorization": "Bearer moor_" + "a" * 43}
BOB = {"authorization": "Bearer moor_" + "b" * 43}
KEYS = {"api_keys": f"{stored_line('alice', 'moor_' + 'a' * 43)}\n{stored_line('bob', 'moor_' + 'b' * 43)}"}


async def begun(harbour: Harbour, headers: dict[str, str] | None = None) -> str:
    opened = await harbour.session(headers)
    name = header(opened, "mcp-session-id")
    assert name is not None, opened.body
    await harbour.legacy(name, {"method": "notifications/initialized"}, headers).finished()
    return name


def call(name: str, request_id: int = 1, **arguments: object) -> dict[str, object]:
    return {"id": request_id, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


async def sse(exchange: Exchange) -> dict[str, object]:
    """The next event of a stream."""
    while (chunk := await exchange.next_chunk()) is not None:
        data = next((line[6:] for line in chunk.split(b"\r\n") if line.startswith(b"data: ")), None)
        if data is not None:
            return json.loads(data)
    raise AssertionError(f"the stream ended without an event: {exchange.body!r}")


async def test_for_another_principal_a_session_does_not_exist(start: Start) -> None:
    harbour = await start(security=KEYS)
    session = await begun(harbour, ALICE)
    stranger = harbour.legacy(session, call("quick"), BOB)
    await stranger.finished()
    absent = harbour.legacy("0" * 32, call("quick"), BOB)
    await absent.finished()
    assert error(stranger) == error(absent) == (404, -32600, "Session not found: it has ended or never was; initialize a new one")
    owner = harbour.legacy(session, call("quick"), ALICE)
    await owner.finished()
    assert owner.status == 200


async def test_sessions_are_bounded_in_all_and_for_each_principal(start: Start) -> None:
    harbour = await start(security=KEYS, sessions={"max_sessions": 2, "max_sessions_per_principal": 1})
    await begun(harbour, ALICE)
    assert error(await harbour.session(ALICE)) == (429, -32012, "Too many open sessions of this principal")
    second = await begun(harbour, BOB)
    refused = await harbour.session(BOB)
    assert error(refused) == (503, -32012, "Too many open sessions")
    assert header(refused, "retry-after") == "1"
    assert (await harbour.ask("DELETE", {"mcp-session-id": second, **BOB})).status == 200
    assert (await harbour.session(BOB)).status == 200


async def test_a_session_that_nobody_uses_ends(start: Start) -> None:
    harbour = await start(sessions={"idle_timeout_seconds": 1})
    session = await begun(harbour)
    with anyio.fail_after(10):
        while harbour.app.state.service.open_sessions:  # not by asking: that would be use
            await anyio.sleep(0.05)
    asked = harbour.legacy(session, call("quick"))
    await asked.finished()
    assert error(asked)[0] == 404


async def test_a_deleted_session_answers_what_was_in_flight_and_is_gone(start: Start) -> None:
    harbour = await start()
    session = await begun(harbour)
    waiting = harbour.legacy(session, call("wait"))
    stream = harbour.open("GET", {"mcp-session-id": session})
    with anyio.fail_after(5):
        await harbour.arrived.wait()
    await stream.started()
    assert (await harbour.ask("DELETE", {"mcp-session-id": session})).status == 200
    await waiting.finished()
    await stream.finished()
    assert json.loads(waiting.body)["error"]["message"] == "The session has ended"
    again = await harbour.ask("DELETE", {"mcp-session-id": session})
    assert again.status == 404


async def test_a_cancelled_call_is_answered_as_cancelled(start: Start) -> None:
    harbour = await start()
    session = await begun(harbour)
    waiting = harbour.legacy(session, call("wait", 7))
    with anyio.fail_after(5):
        await harbour.arrived.wait()
    await harbour.legacy(session, {"method": "notifications/cancelled", "params": {"requestId": 7}}).finished()
    await waiting.finished()
    assert json.loads(waiting.body) == {"jsonrpc": "2.0", "id": 7, "error": {"code": -32800, "message": "Request cancelled"}}


async def test_a_tool_asks_its_client_on_the_stream_of_its_own_call(start: Start) -> None:
    harbour = await start()
    session = await begun(harbour)
    asking = harbour.legacy(session, call("berth"))
    question = await sse(asking)
    assert question["method"] == "elicitation/create"
    reply = harbour.legacy(session, {"id": question["id"], "result": {"action": "accept", "content": {"name": "Rose"}}})
    await reply.finished()
    assert reply.status == 202
    result = await sse(asking)
    assert result["result"]["content"] == [{"type": "text", "text": "Rose"}]  # pyright: ignore[reportIndexIssue, reportArgumentType]


async def test_a_client_that_refuses_to_answer_fails_the_call_and_not_the_session(start: Start) -> None:
    harbour = await start()
    session = await begun(harbour)
    asking = harbour.legacy(session, call("berth"))
    question = await sse(asking)
    await harbour.legacy(session, {"id": question["id"], "error": {"code": -32601, "message": "nobody is here"}}).finished()
    answer = await sse(asking)
    assert answer["error"] == {"code": -32601, "message": "nobody is here"}
    alive = harbour.legacy(session, call("quick", 2))
    await alive.finished()
    assert alive.status == 200


async def test_notices_reach_the_newest_stream_of_a_session(start: Start) -> None:
    harbour = await start()
    session = await begun(harbour)
    older = harbour.open("GET", {"mcp-session-id": session})
    await older.started()
    newer = harbour.open("GET", {"mcp-session-id": session})
    await newer.started()
    await older.finished()
    assert older.body.endswith(b"retry: 1000\r\n\r\n")
    await harbour.legacy(session, call("announce", times=1)).finished()
    assert (await sse(newer))["method"] == "notifications/tools/list_changed"
    newer.leave()
    await newer.finished()


async def test_a_stream_whose_client_does_not_read_is_ended_instead_of_growing(start: Start) -> None:
    harbour = await start()
    session = await begun(harbour)
    reading = anyio.Event()

    async def stuck(message: object) -> None:
        await reading.wait()

    async def receive() -> dict[str, object]:
        await reading.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/mcp",
        "server": ("127.0.0.1", 8000),
        "headers": [(b"host", b"localhost"), (b"accept", b"text/event-stream"), (b"mcp-session-id", session.encode())],
    }
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(harbour.app, scope, receive, stuck)
        with anyio.fail_after(5):
            while not harbour.app.state.service.open_streams:
                await anyio.sleep(0)
        announced = harbour.legacy(session, call("announce", times=1000))
        await announced.finished()
        assert announced.status == 200
        reading.set()


async def test_a_session_is_reinitialized_in_place_and_other_methods_are_not_allowed(start: Start) -> None:
    harbour = await start()
    session = await begun(harbour)
    assert (await harbour.session({"mcp-session-id": session})).status == 200
    refused = await harbour.ask("PUT", {"mcp-session-id": session})
    assert (refused.status, header(refused, "allow")) == (405, "GET, POST, DELETE")


def alive(kind: type) -> int:
    """How many objects of a type there are, garbage among them."""
    return sum(type(found) is kind for found in gc.get_objects())


async def test_what_is_over_is_gone_before_the_garbage_collector_comes(start: Start) -> None:
    harbour = await start()
    gc.collect()
    gc.disable()
    try:
        session = await begun(harbour)
        answered = harbour.legacy(session, call("quick"))
        await answered.finished()
        assert answered.status == 200
        assert (await harbour.ask("DELETE", {"mcp-session-id": session})).status == 200
        assert (alive(HttpExchange), alive(Session)) == (0, 0)
    finally:
        gc.enable()


async def test_when_a_crowd_has_left_the_sessions_that_stay_are_what_they_were(start: Start) -> None:
    harbour = await start(sessions={"park_after_seconds": 0})
    service = harbour.app.state.service
    parked, ended = await begun(harbour), await begun(harbour)
    assert (await harbour.ask("DELETE", {"mcp-session-id": ended})).status == 200
    await service._the_legacy.home.tend()
    living = await begun(harbour)
    service._the_legacy.shrink()
    assert service.open_sessions == 2
    answers = [harbour.legacy(name, call("quick")) for name in (parked, living, ended)]
    for answer in answers:
        await answer.finished()
    assert [answer.status for answer in answers] == [200, 200, 404]

"""Exchanges that are watched while they last: what arrives when, clients that leave, and listening."""

from __future__ import annotations

import json
from collections.abc import Iterator

import anyio
import pytest

from .answer import canonical, parse_events, read
from .case import META, Case, call, case, rpc
from .stage import Side, Stage
from .wire import Exchange, play

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]

TOKEN = {**META, "progressToken": "t"}


def _messages(chunk: bytes | None) -> Iterator[str]:
    assert chunk is not None, "the stream is over"
    yield from (canonical(json.loads(event.data)) for event in parse_events(chunk.decode()))


async def _next(exchange: Exchange) -> str:
    chunk = await exchange.next_chunk()
    [message] = _messages(chunk)
    return message


async def _lingering(side: Side, request: Case) -> Exchange:
    exchange = side.begin(request.request)
    with anyio.fail_after(5):
        await side.notes.lingering.wait()
    side.notes.lingering.clear()
    return exchange


def _clear(side: Side) -> None:
    for event in (side.notes.lingering, side.notes.cancelled, side.notes.release):
        event.clear()


async def test_progress_arrives_while_the_tool_still_runs(streaming_stage: Stage) -> None:
    seen: list[list[str]] = []
    for side in (streaming_stage.sdk["everyday"], streaming_stage.ours["everyday"]):
        _clear(side)
        exchange = await _lingering(side, case("", call("linger_on_a_stream", TOKEN)))
        first = await _next(exchange)
        assert not exchange.complete
        side.notes.release.set()
        seen.append([first, await _next(exchange)])
        await exchange.finished()
    assert seen[0] == seen[1]


@pytest.mark.parametrize("tool", ["linger", "linger_on_a_stream"])
async def test_a_client_that_leaves_cancels_its_call(streaming_stage: Stage, tool: str) -> None:
    statuses: list[int | None] = []
    for side in (streaming_stage.sdk["everyday"], streaming_stage.ours["everyday"]):
        _clear(side)
        exchange = await _lingering(side, case("", call(tool, TOKEN)))
        exchange.leave()
        await exchange.finished()
        with anyio.fail_after(5):
            await side.notes.cancelled.wait()
        statuses.append(exchange.status)
    assert statuses[0] == statuses[1]


async def test_a_client_that_leaves_harms_nobody_else(stage: Stage) -> None:
    for side in (stage.sdk["everyday"], stage.ours["everyday"]):
        _clear(side)
        exchange = await _lingering(side, case("", call("linger")))
        exchange.leave()
        side.notes.release.set()
        await exchange.finished()
        answer = await side.play(case("").request)
        assert answer.messages[0]["result"]["structuredContent"] == {"result": 3}


async def test_progress_after_the_result_is_dropped(stage: Stage) -> None:
    answers: list[list[str]] = []
    for side in (stage.sdk["everyday"], stage.ours["everyday"]):
        _clear(side)
        exchange = await play(side.app, case("", call("outlive", TOKEN)).request)
        body = exchange.body
        side.notes.release.set()
        with anyio.fail_after(5):
            await side.notes.tasks.pop()
        assert exchange.body == body
        answers.append([*read(exchange).body, *side.notes.take()])
    assert answers[0] == answers[1]


async def test_calls_do_not_wait_for_each_other(stage: Stage) -> None:
    for side in (stage.sdk["everyday"], stage.ours["everyday"]):
        _clear(side)
        slow = await _lingering(side, case("", call("linger")))
        assert (await side.play(case("").request)).status == 200
        side.notes.release.set()
        await slow.finished()
        assert slow.status == 200


async def test_a_listener_hears_what_it_asked_for_and_nothing_else(stage: Stage) -> None:
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["res://text"]}
    seen: list[list[str]] = []
    for side in (stage.sdk["everyday"], stage.ours["everyday"]):
        exchange = side.begin(case("", rpc("subscriptions/listen", notifications=wanted, _id="sub")).request)
        heard = [str(await exchange.started()), await _next(exchange)]
        for announcement in (
            call("announces"),
            call("announces_a_resource", uri="res://other"),
            call("announces_a_resource", uri="res://text"),
        ):
            await side.play(case("", announcement).request)
        heard += [await _next(exchange), await _next(exchange)]
        exchange.leave()
        await exchange.finished()
        seen.append(heard)
    assert seen[0] == seen[1]
    assert [json.loads(message).get("method") for message in seen[0][1:]] == [
        "notifications/subscriptions/acknowledged",
        "notifications/tools/list_changed",
        "notifications/resources/updated",
    ]


@pytest.mark.parametrize("notifications", [None, 5, {"resourceSubscriptions": "x"}, {"toolsListChanged": "perhaps"}])
async def test_a_listener_that_asks_wrongly_is_refused_alike(stage: Stage, notifications: object) -> None:
    request = case("", rpc("subscriptions/listen", notifications=notifications)).request
    theirs, ours = await stage.sdk["everyday"].play(request), await stage.ours["everyday"].play(request)
    assert (theirs.status, theirs.body) == (ours.status, ours.body)

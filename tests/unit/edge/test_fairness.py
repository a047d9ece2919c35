"""A tool that awaits whatever it says leaves the loop to others, though its client reads as fast as it writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.comparison.wire import Exchange
from tests.unit.edge.conftest import META, Start, header

pytestmark = pytest.mark.anyio

NOTICES = 1000


def notices(exchange: Exchange) -> list[dict[str, Any]]:
    """What a call said before its answer."""
    messages = [json.loads(line.removeprefix("data: ")) for line in exchange.body.decode().splitlines() if line.startswith("data: {")]
    return [message for message in messages if "method" in message]


def result(exchange: Exchange) -> dict[str, Any]:
    """What a call was answered with, on a stream or as one document."""
    *_, last = [line for line in exchange.body.decode().splitlines() if line.startswith(("data: {", "{"))]
    return json.loads(last.removeprefix("data: "))["result"]


@pytest.mark.parametrize("token", [True, False], ids=["with a progress token", "without"])
@pytest.mark.parametrize("json_responses", [True, False], ids=["json", "sse"])
@pytest.mark.parametrize(
    ("era", "kind"), [("modern", "log"), ("modern", "progress"), ("legacy", "log"), ("legacy", "progress"), ("legacy", "list_changed")]
)
async def test_a_tool_that_says_much_lets_others_have_their_turns(
    era: str, json_responses: bool, kind: str, token: bool, start: Start
) -> None:
    harbour = await start(http={"json_responses": json_responses})
    arguments = {"kind": kind, "times": NOTICES}
    if era == "modern":
        meta = {**META, "io.modelcontextprotocol/logLevel": "info"}
        if not token:
            del meta["progressToken"]
        exchange = harbour.modern("chatter", arguments=arguments, _meta=meta)
    else:
        session = header(await harbour.session(), "mcp-session-id") or ""
        meta = {"progressToken": 1} if token else {}
        params = {"name": "chatter", "arguments": arguments, "_meta": meta}
        exchange = harbour.legacy(session, {"id": 1, "method": "tools/call", "params": params})
    await exchange.finished()
    assert int(result(exchange)["content"][0]["text"]) >= NOTICES // 50


@pytest.mark.parametrize(("era", "kind"), [("modern", "log"), ("modern", "progress"), ("legacy", "log"), ("legacy", "progress")])
async def test_what_several_tasks_of_a_tool_say_is_sent_in_the_order_in_which_they_said_it(era: str, kind: str, start: Start) -> None:
    harbour = await start()
    params: dict[str, Any] = {"name": "chorus", "arguments": {"kind": kind, "voices": NOTICES}}
    if era == "modern":
        exchange = harbour.modern(**params, _meta={**META, "io.modelcontextprotocol/logLevel": "info"})
    else:
        session = header(await harbour.session(), "mcp-session-id") or ""
        exchange = harbour.legacy(session, {"id": 1, "method": "tools/call", "params": {**params, "_meta": {"progressToken": 1}}})
    await exchange.finished()
    said = [notice["params"] for notice in notices(exchange)]
    assert [int(notice["data"] if kind == "log" else notice["progress"]) for notice in said] == list(range(NOTICES))

"""Streams that have grown old are ended in their era's own way, so that load can move."""

from __future__ import annotations

import json

import pytest

from tests.unit.edge.conftest import Start
from tests.unit.edge.test_sessions import begun

pytestmark = pytest.mark.anyio

YOUNG = {"stream_max_age_seconds": 0.05}


async def test_an_old_listen_stream_ends_with_its_final_result(start: Start) -> None:
    harbour = await start(sessions=YOUNG)
    stream = harbour.modern("", method="subscriptions/listen", notifications={"toolsListChanged": True})
    await stream.finished()
    events = [line[6:] for line in stream.body.split(b"\r\n") if line.startswith(b"data: ")]
    final = json.loads(events[-1])
    assert final["result"]["resultType"] == "complete"
    assert final["result"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 1}


async def test_an_old_get_stream_ends_with_a_hint_to_come_back(start: Start) -> None:
    harbour = await start(sessions=YOUNG)
    session = await begun(harbour)
    stream = harbour.open("GET", {"mcp-session-id": session, "accept": "text/event-stream"})
    await stream.finished()
    assert stream.status == 200
    assert stream.body.endswith(b"retry: 1000\r\n\r\n")


async def test_a_stream_without_an_age_stays_open(start: Start) -> None:
    harbour = await start(sessions={"stream_max_age_seconds": 0})
    session = await begun(harbour)
    stream = harbour.open("GET", {"mcp-session-id": session, "accept": "text/event-stream"})
    assert await stream.started() == 200
    newer = harbour.open("GET", {"mcp-session-id": session, "accept": "text/event-stream"})
    await stream.finished()  # and only because a newer one has taken its place
    assert await newer.started() == 200

"""A stream does not begin before a proxy has put its request away."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.edge.conftest import Harbour, Start, header

pytestmark = pytest.mark.anyio

HEAD_AFTER = 60.0
"""Instead of 20 ms: however slow the machine, a request is not older than that when its stream begins."""


async def began(harbour: Harbour, name: str, monkeypatch: pytest.MonkeyPatch, **arguments: object) -> list[float]:
    """What the endpoint slept while it answered a call."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def recorded(seconds: float, *result: object) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr("moorage.protocol.exchange.STREAM_HEAD_AFTER", HEAD_AFTER)
    monkeypatch.setattr("moorage.protocol.exchange.asyncio.sleep", recorded)
    exchange = harbour.modern(name, arguments=arguments)
    await exchange.finished()
    assert exchange.status == 200
    assert (header(exchange, "content-type") == "text/event-stream") is (name != "quick")
    return [seconds for seconds in slept if seconds > HEAD_AFTER / 2]


async def test_a_stream_waits_once_for_its_head(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = await began(await start(), "steps", monkeypatch)
    assert len(waits) == 1
    assert waits[0] <= HEAD_AFTER


async def test_an_answer_without_a_stream_does_not_wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await began(await start(), "quick", monkeypatch) == []


async def test_a_call_that_ends_before_its_stream_may_begin_is_answered_whole(start: Start) -> None:
    harbour = await start()
    exchange = harbour.modern("hasty")
    await exchange.finished()
    assert header(exchange, "content-type") == "application/json"

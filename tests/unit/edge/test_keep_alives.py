"""Keep-alives of a call whose client is behind do not queue up behind the write that waits."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from moorage.protocol.call import Call, InFlight
from tests.comparison.wire import Exchange
from tests.unit.edge.conftest import LEGACY, Harbour, Start

pytestmark = pytest.mark.anyio

TICKS = 50


class Ticks:
    """Has a keep-alive fall due with every tick, and tells when there were many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.many = asyncio.Event()
        self._left: int | None = None
        overdue = InFlight._overdue

        def counted(in_flight: InFlight, call: Call, now: float) -> bool:
            in_flight._ping_seconds = 0.0
            if self._left is not None:
                self._left -= 1
                if self._left <= 0:
                    self.many.set()
            return overdue(in_flight, call, now)

        monkeypatch.setattr(InFlight, "_overdue", counted)
        monkeypatch.setattr("moorage.protocol.call.WATCH_AFTER", 0.001)

    async def pass_by(self) -> None:
        self._left = TICKS
        with anyio.fail_after(10):
            await self.many.wait()


async def begun(harbour: Harbour, era: str) -> Exchange:
    """A call that is a stream and lasts."""
    if era == "modern":
        return harbour.modern("wait")
    opened = await harbour.session()
    session = next(value.decode() for name, value in opened.headers if name == b"mcp-session-id")
    call = {"id": 1, "method": "tools/call", "params": {"name": "wait", "arguments": {}}}
    return harbour.legacy(session, call, {"mcp-protocol-version": LEGACY})


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_one_keep_alive_at_most_waits_for_a_client_that_is_behind(start: Start, era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, room, deliver = list[bytes](), asyncio.Event(), Exchange._send
    room.set()

    async def sent(exchange: Exchange, message: Any) -> None:
        if not room.is_set():
            waiting.append(message["body"])
            await room.wait()
        await deliver(exchange, message)

    pings, ping = list[Call](), Call.ping

    async def counted(call: Call) -> None:
        pings.append(call)
        await ping(call)

    monkeypatch.setattr(Exchange, "_send", sent)
    monkeypatch.setattr(Call, "ping", counted)
    ticks = Ticks(monkeypatch)
    harbour = await start()
    exchange = await begun(harbour, era)
    while b": ping" not in exchange.body:
        assert await exchange.next_chunk() is not None
    room.clear()
    pings.clear()
    await ticks.pass_by()
    assert len(pings) == 1
    assert waiting == [b": ping\r\n\r\n"]
    room.set()
    harbour.release.set()
    await exchange.finished()
    assert b"released" in exchange.body

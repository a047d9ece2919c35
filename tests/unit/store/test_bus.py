"""Whatever is published reaches every process, also one that was out of touch, or that process is told to look at everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from moorage.store.bus import EVERYTHING, Notice
from moorage.store.outage import StoreUnavailable
from tests.unit.store.access import WITHIN, Member, Place
from tests.unit.store.members import Join

pytestmark = pytest.mark.anyio

TOOLS = Notice("tools")
SHIP = Notice("resource", "ship://größer?a=b c")


@asynccontextmanager
async def listening(*members: Member) -> AsyncIterator[None]:
    """Members that have begun to listen."""
    async with anyio.create_task_group() as tasks:
        for member in members:
            tasks.start_soon(member.bus.listen_forever)
        with anyio.fail_after(WITHIN):
            while not all(member.bus.position for member in members):
                await anyio.sleep(0.001)
        yield
        tasks.cancel_scope.cancel()


async def hears(member: Member, *notices: Notice) -> None:
    """Wait until a member has heard these, in this order and nothing else, and forget them."""
    await member.until(lambda: len(member.heard) >= len(notices))
    assert member.heard == list(notices)
    member.heard.clear()


async def loses_touch(member: Member, other: Member) -> None:
    """Put a member out of touch; TOOLS, which the other publishes, is the first that it misses."""
    member.store.available = False
    await other.bus.publish(TOOLS)
    with anyio.fail_after(WITHIN):
        while not member.bus._was_out:
            await anyio.sleep(0.001)


async def test_what_one_publishes_all_hear_once_and_in_order(join: Join):
    a, b = await join(), await join()
    async with listening(a, b):
        await a.bus.publish(TOOLS)
        await b.bus.publish(SHIP)
        await a.bus.publish(TOOLS)
        for member in (a, b):
            await hears(member, TOOLS, SHIP, TOOLS)
        assert a.bus.position == b.bus.position


async def test_whoever_begins_to_listen_hears_nothing_of_before(join: Join):
    a, b = await join(), await join()
    async with listening(a):
        await a.bus.publish(TOOLS)
        await hears(a, TOOLS)
        async with listening(b):
            await a.bus.publish(SHIP)
            await hears(b, SHIP)


async def test_what_a_process_missed_while_it_was_out_of_touch_it_hears_afterwards(join: Join):
    a, b = await join(), await join()
    async with listening(a, b):
        await loses_touch(b, a)
        await a.bus.publish(SHIP)
        await hears(a, TOOLS, SHIP)
        assert b.heard == []
        b.store.available = True
        await hears(b, TOOLS, SHIP)


async def test_what_is_published_during_an_outage_is_heard_here_at_once_and_by_the_others_later(join: Join):
    a, b = await join(), await join()
    async with listening(a, b):
        a.store.available = False
        await a.bus.publish(TOOLS)
        await hears(a, TOOLS)
        assert b.heard == []
        a.store.available = True
        await hears(b, TOOLS)
        await hears(a, TOOLS)  # again, as one of all: one too many does no harm


async def test_publishing_never_fails_before_anybody_listens(join: Join):
    a, b = await join(), await join()
    a.store.available = False
    await a.bus.publish(TOOLS)
    assert a.heard == [TOOLS]
    a.store.available = True
    async with listening(b), listening(a):
        await hears(b, TOOLS)


async def test_however_much_is_published_during_an_outage_memory_stays_bounded_and_nobody_is_left_out(
    join: Join, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("moorage.store.bus._MOST_PENDING", 50)
    a, b = await join(), await join()
    async with listening(a, b):
        a.store.available = False
        for number in range(500):
            await a.bus.publish(Notice("resource", f"ship://{number}"))
        assert len(a.bus._pending) <= 51
        a.store.available = True
        await b.until(lambda: EVERYTHING in b.heard)


@pytest.mark.parametrize("left", [1, 300])
async def test_whoever_missed_what_is_gone_is_told_that_everything_may_have_changed(join: Join, place: Place, prefix: str, left: int):
    a, b = await join(), await join()
    async with listening(a, b):
        await loses_touch(b, a)
        for number in range(left):
            await a.bus.publish(Notice("resource", f"ship://{number}"))
        server = place.server_of(f"{prefix}:bus")
        server.xtrim(f"{prefix}:bus", maxlen=left, approximate=False)
        b.store.available = True
        kept = [Notice("resource", f"ship://{number}") for number in range(left)]
        await b.until(lambda: b.heard[-1:] == kept[-1:])
        assert b.heard[0] == EVERYTHING
        assert [notice for notice in b.heard if notice != EVERYTHING] == kept


async def test_whoever_fell_so_far_behind_that_something_is_gone_is_told_even_without_an_outage(join: Join, place: Place, prefix: str):
    a, b = await join(), await join()
    async with listening(a):
        b.bus.position = a.bus.position
        await a.bus.publish(TOOLS)
        kept = [Notice("resource", f"ship://{number}") for number in range(260)]
        for notice in kept:
            await a.bus.publish(notice)
        place.server_of(f"{prefix}:bus").xtrim(f"{prefix}:bus", maxlen=len(kept), approximate=False)
        async with listening(b):
            await b.until(lambda: b.heard[-1:] == kept[-1:])
        assert b.heard == [EVERYTHING, *kept]


async def test_whoever_may_have_missed_what_the_store_lost_is_told_that_everything_may_have_changed(join: Join, place: Place):
    a, b = await join(), await join()
    async with listening(a, b):
        await loses_touch(b, a)
        await hears(a, TOOLS)
        place.flush()
        b.store.available = True
        await hears(b, EVERYTHING)
        await a.bus.publish(SHIP)
        await hears(b, SHIP)


async def test_a_long_absence_costs_the_store_no_more_than_it_keeps(join: Join, place: Place, prefix: str):
    a = await join()
    for number in range(4600):
        await a.store._client.xadd(f"{prefix}:bus", {"k": "tools", "u": str(number)}) if number else await a.bus.publish(TOOLS)
    await a.bus.publish(SHIP)
    server = place.server_of(f"{prefix}:bus")
    length = server.xlen(f"{prefix}:bus")
    assert 4096 <= length < 4300


# What a session missed that nobody owned


async def test_what_was_published_after_a_position_can_be_asked_for(join: Join):
    a, b = await join(), await join()
    async with listening(a):
        begun = a.bus.position
        assert await a.bus.since(begun) == []
        await b.bus.publish(TOOLS)
        await b.bus.publish(SHIP)
        await hears(a, TOOLS, SHIP)
        assert await b.bus.since(begun) == [TOOLS, SHIP]
        assert await b.bus.since(a.bus.position) == []


async def test_after_a_position_that_is_gone_everything_may_have_changed(join: Join, place: Place):
    a = await join()
    async with listening(a):
        begun = a.bus.position
        await a.bus.publish(TOOLS)
        await hears(a, TOOLS)
        place.flush()
        assert await a.bus.since(begun) == [EVERYTHING]


async def test_without_a_position_everything_may_have_changed_if_anything_was_published(join: Join):
    a, b = await join(), await join()
    async with listening(a):
        assert await b.bus.since("") == []
        await a.bus.publish(TOOLS)
        await hears(a, TOOLS)
        assert await b.bus.since("") == [EVERYTHING]


async def test_what_was_missed_cannot_be_told_while_the_store_is_out(join: Join):
    a, b = await join(), await join()
    async with listening(a):
        a.store.available = False
        with pytest.raises(StoreUnavailable):
            await a.bus.since("1-0")
    assert b.heard == []

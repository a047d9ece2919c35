"""A process knows that it is dead before anybody else does, and comes back as another one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import pytest

from moorage.store.outage import StoreUnavailable
from tests.services import Partition, Redis
from tests.unit.store.access import WITHIN, Member, Place, append, event
from tests.unit.store.members import Join

pytestmark = pytest.mark.anyio
apart = anyio.to_thread.run_sync


@pytest.fixture
async def network(place: Place) -> AsyncIterator[Partition]:
    async with Partition(place.port) as it:
        yield it


@pytest.fixture
async def distant(place: Place, prefix: str, network: Partition) -> AsyncIterator[Member]:
    """A member whose way to the store can be cut."""
    there = Place(f"redis://127.0.0.1:{network.port}", place.clients)
    member = Member.of(there, prefix, lease_seconds=2.0, timeout_seconds=0.5)
    yield member
    await member.owner.resign()
    await member.store.close()
    there.close()


def age_of_key(place: Place, prefix: str) -> int:
    [left] = [left for key, left in place.keys(prefix).items() if ":owner:" in key]
    return left


async def test_an_owner_is_alive_for_the_others_once_it_has_begun(join: Join):
    a, b = await join(), await join()
    assert a.owner.alive
    assert await b.owner.is_alive(a.owner.id)
    assert not await b.owner.is_alive("0123456789abcdef")


async def test_an_owner_that_is_not_refreshed_is_dead_for_the_others_after_its_lease(join: Join, place: Place):
    a, b = await join(lease_seconds=0.3), await join()
    await apart(place.wait_gone, a.store.key("owner", a.owner.id))
    assert not await b.owner.is_alive(a.owner.id)


async def test_beats_keep_an_owner_alive_beyond_its_lease(join: Join, place: Place):
    a, b = await join(lease_seconds=1.0), await join()
    known = a.owner.id
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(a.owner.beat_forever)
        await apart(place.wait_past, place.now_ms() + 1500)
        assert a.owner.alive
        assert a.owner.id == known
        assert await b.owner.is_alive(known)
        tasks.cancel_scope.cancel()
    assert a.lapses == []


async def test_an_owner_counts_itself_as_dead_before_the_others_do_and_has_another_name_then(join: Join):
    a, b = await join(lease_seconds=4.0), await join()
    known = a.owner.id
    await a.until(lambda: a.lapses)
    assert await b.owner.is_alive(known), "nobody may claim what it still believes to own"
    assert not a.owner.alive
    assert a.owner.id != known


async def test_an_owner_that_cannot_reach_the_store_lapses_and_comes_back_under_another_name(
    distant: Member, network: Partition, join: Join
):
    other = await join()
    assert await distant.owner.begin("127.0.0.1:7")
    lease, known = await distant.create("tag"), distant.owner.id
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(distant.owner.beat_forever)
        await network.cut()
        await distant.until(lambda: distant.lapses)
        assert not lease.valid
        assert not distant.store.available
        await network.heal()
        with anyio.fail_after(WITHIN):
            while not distant.owner.alive:
                await anyio.sleep(0.01)
        assert distant.store.available
        assert distant.owner.id != known
        assert await other.owner.is_alive(distant.owner.id)
        tasks.cancel_scope.cancel()
    assert distant.lapses == ["lapsed"]


async def test_while_the_store_is_silent_nobody_waits_for_it_after_the_first_beat_that_failed(distant: Member, network: Partition):
    assert await distant.owner.begin("127.0.0.1:7")
    await network.stall()
    assert not await distant.owner.begin("127.0.0.1:7")
    asked = len(network._links)
    with pytest.raises(StoreUnavailable):
        await distant.sessions.claim("tag")
    assert len(network._links) == asked, "nothing was sent"
    await network.heal()
    assert await distant.owner.begin("127.0.0.1:7")
    assert distant.store.available


async def test_a_process_begins_without_a_store_and_is_known_once_there_is_one(distant: Member, network: Partition):
    await network.cut()
    assert not await distant.owner.begin("127.0.0.1:7")
    assert not distant.owner.alive
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(distant.owner.beat_forever)
        await network.heal()
        with anyio.fail_after(WITHIN):
            while not distant.owner.alive:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert await append(await distant.create("tag"), event("g")) == 1


async def test_a_beat_that_is_answered_after_the_lapse_does_not_revive_who_is_given_up(
    place: Place, prefix: str, network: Partition, join: Join
):
    other = await join()
    patient = Member.of(Place(f"redis://127.0.0.1:{network.port}", lambda: []), prefix, lease_seconds=1.0, timeout_seconds=20.0)
    assert await patient.owner.begin("127.0.0.1:7")
    known = patient.owner.id
    await network.stall()
    late = asyncio.create_task(patient.owner.begin("127.0.0.1:7"))
    await patient.until(lambda: patient.lapses)
    await network.heal()
    with anyio.fail_after(WITHIN):
        assert await late
    assert patient.owner.alive
    assert patient.owner.id != known
    assert await other.owner.is_alive(patient.owner.id)
    await patient.owner.resign()
    await patient.store.close()


async def test_an_owner_that_resigns_is_dead_at_once(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    await a.owner.resign()
    assert not await b.owner.is_alive(a.owner.id)
    assert not a.owner.alive
    assert not lease.valid


async def test_resigning_while_the_store_is_out_fails_nothing(distant: Member, network: Partition):
    assert await distant.owner.begin("127.0.0.1:7")
    await network.cut()
    await distant.owner.resign()
    assert not distant.owner.alive


async def test_the_clock_of_an_owner_is_that_of_the_store_whatever_its_own_says(join: Join, place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.time", lambda: 0.0)
    a = await join()
    before = place.now_ms()
    shown = a.owner.store_time()
    assert before - 5000 < shown * 1000 < place.now_ms() + 5000


async def test_a_paused_store_is_out_and_a_resumed_one_is_back():
    with Redis() as server:
        there = Place(server.url, lambda: [server.client()], port=server.port)
        member = Member.of(there, "t", timeout_seconds=0.3)
        assert await member.owner.begin("127.0.0.1:7")
        server.signal(signal.SIGSTOP)
        assert not await member.owner.begin("127.0.0.1:7")
        with pytest.raises(StoreUnavailable):
            await member.sessions.claim("tag")
        server.signal(signal.SIGCONT)
        await apart(server.wait_until, server.answers, "answering")
        assert await member.owner.begin("127.0.0.1:7")
        await member.owner.resign()
        await member.store.close()
        there.close()


async def test_the_key_of_an_owner_ends_with_its_lease(join: Join, place: Place, prefix: str):
    await join(lease_seconds=20.0)
    assert 10_000 < age_of_key(place, prefix) <= 20_000

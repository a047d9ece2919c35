"""A session has one owner at a time, and whoever was its owner before can do nothing to it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio.to_thread
import pytest

from moorage.store.outage import StoreUnavailable
from moorage.store.sessions import Absent, Fenced, Held, Lease, Owned
from tests.unit.store.access import Place, append, event, held, last, opens
from tests.unit.store.members import Join

pytestmark = pytest.mark.anyio

WRITES: dict[str, Callable[[Lease], Awaitable[object]]] = {
    "append": lambda lease: append(lease, event("g")),
    "register": lambda lease: append(lease, opens("g")),
    "read": lambda lease: lease.read("g", 0),
    "keep": lambda lease: lease.keep(),
    "release": lambda lease: lease.release(),
    "finish": lambda lease: lease.finish(),
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


async def test_whoever_finds_a_session_owned_is_told_by_whom_and_where(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    assert await b.sessions.claim("tag") == Held(a.owner.id, lease.epoch, "127.0.0.1:1")


async def test_a_session_that_never_was_cannot_be_claimed(join: Join):
    a = await join()
    assert await a.sessions.claim("tag") == Absent()


async def test_an_ended_session_cannot_be_claimed_and_leaves_nothing(join: Join, place: Place, prefix: str):
    a, b = await join(), await join()
    lease = await a.create("tag")
    await append(lease, opens("call"), event("call"))
    await lease.finish()
    assert await b.sessions.claim("tag") == Absent()
    assert not [key for key in place.keys(prefix) if "owner" not in key]
    assert not lease.valid


async def test_a_new_session_does_not_take_the_place_of_one_that_is_owned(join: Join):
    a, b = await join(), await join()
    await a.create("tag")
    with pytest.raises(StoreUnavailable):
        await b.create("tag")


async def test_a_released_session_is_free_for_the_next_owner_under_a_larger_epoch(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    await lease.release()
    assert not lease.valid
    taken = await b.take("tag")
    assert taken.lease.epoch > lease.epoch
    assert taken.lease.eras == ((lease.epoch, 0), (taken.lease.epoch, 0))
    assert held(await a.sessions.claim("tag")).owner == b.owner.id


async def test_a_takeover_needs_the_owner_and_the_epoch_of_whoever_died(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    others = [Held("0123456789abcdef", lease.epoch, ""), Held(a.owner.id, lease.epoch - 1, ""), Held(a.owner.id, lease.epoch + 1, "")]
    for wrong in others:
        assert held(await b.sessions.claim("tag", wrong)).owner == a.owner.id
    assert await append(lease, event("g")) == 1
    taken = await b.take("tag", a.dead(lease))
    assert taken.lease.epoch > lease.epoch


async def test_what_was_known_of_a_dead_owner_serves_for_one_takeover(join: Join):
    a, b, c = await join(), await join(), await join()
    dead = a.dead(await a.create("tag"))
    await b.take("tag", dead)
    assert held(await c.sessions.claim("tag", dead)).owner == b.owner.id


async def test_of_many_that_want_a_free_session_one_gets_it(join: Join):
    members = [await join() for _ in range(6)]
    await (await members[0].create("tag")).release()
    claims = await asyncio.gather(*(member.sessions.claim("tag") for member in members))
    [owned] = [claim for claim in claims if isinstance(claim, Owned)]
    assert {held(claim).epoch for claim in claims if claim is not owned} == {owned.lease.epoch}


async def test_of_many_that_bury_the_same_owner_one_succeeds_it(join: Join):
    a, *others = [await join() for _ in range(6)]
    dead = a.dead(await a.create("tag"))
    claims = await asyncio.gather(*(member.sessions.claim("tag", dead) for member in others))
    assert sum(isinstance(claim, Owned) for claim in claims) == 1


async def test_epochs_grow_however_fast_owners_change(join: Join):
    members = [await join(), await join()]
    epochs = [(await members[0].create("tag")).epoch]
    for turn in range(1, 40):
        dead = Held(members[(turn - 1) % 2].owner.id, epochs[-1], "")
        epochs.append((await members[turn % 2].take("tag", dead)).lease.epoch)
    assert epochs == sorted(set(epochs))


@every_write
async def test_an_owner_that_was_succeeded_can_do_nothing(join: Join, write: Callable[[Lease], Awaitable[object]]):
    a, b = await join(), await join()
    lease = await a.create("tag")
    await append(lease, opens("g"), event("g", b"first"))
    taken = (await b.take("tag", a.dead(lease))).lease
    with pytest.raises(Fenced):
        await write(lease)
    assert not lease.valid
    tail = await taken.read("g", 0)
    assert [(entry.offset, entry.data) for entry in tail.entries] == [(1, b"first")]
    assert held(await a.sessions.claim("tag")).owner == b.owner.id
    assert await append(taken, event("g")) == 2


@every_write
async def test_after_the_store_lost_its_data_the_old_owner_is_fenced_and_a_new_epoch_is_larger(
    join: Join, place: Place, write: Callable[[Lease], Awaitable[object]]
):
    a, b = await join(), await join()
    lease = await a.create("tag")
    await append(lease, event("g", b"of before"))
    await anyio.to_thread.run_sync(place.wait_past, lease.epoch)
    place.flush()
    assert await b.sessions.claim("tag") == Absent()
    again = await b.create("tag")
    assert again.epoch > lease.epoch
    assert again.eras == ((again.epoch, 0),), "positions of before mean nothing now"
    with pytest.raises(Fenced):
        await write(lease)
    assert [entry.data for entry in (await again.read("g", 0)).entries] == []
    assert await append(again, event("g")) == 1


@pytest.mark.parametrize(
    "write", [write for name, write in WRITES.items() if name != "finish"], ids=[name for name in WRITES if name != "finish"]
)
async def test_a_session_that_the_store_lost_is_not_made_again_by_its_owner(
    join: Join, place: Place, prefix: str, write: Callable[[Lease], Awaitable[object]]
):
    a = await join()
    lease = await a.create("tag")
    place.flush()
    with pytest.raises(Fenced):
        await write(lease)
    assert place.keys(prefix) == {}


async def test_claiming_ones_own_session_again_fences_the_earlier_lease(join: Join):
    a = await join()
    first = await a.create("tag")
    second = (await a.take("tag")).lease
    assert second.epoch > first.epoch
    with pytest.raises(Fenced):
        await append(first, event("g"))
    assert await append(second, event("g")) == 1


async def test_whoever_claims_finds_what_the_last_owner_left(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    lease.bus = "7-0"
    await append(lease, opens("g"), opens("call", b"kept of the call"), event("call", b"1"))
    await append(lease, opens("done"), last("done", b"2"))
    assert await lease.watch({"ship://1": True, "ship://2": True})
    assert await lease.watch({"ship://2": False})
    taken = await b.take("tag", a.dead(lease))
    assert dict(taken.calls) == {"call": b"kept of the call"}
    assert taken.watched == {"ship://1"}
    assert taken.bus == "7-0"
    assert taken.streamed
    assert taken.succeeds
    assert [entry.data for entry in (await taken.lease.read("call", 0)).entries] == [b"1"]
    assert await append(taken.lease, event("g")) == 3


async def test_a_session_without_a_get_stream_says_so_to_its_next_owner(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    await append(lease, opens("call"), last("call"))
    await lease.release()
    taken = await b.take("tag")
    assert not taken.streamed
    assert not taken.succeeds, "what was handed over was not lost"
    assert dict(taken.calls) == {}


async def test_a_lease_of_an_owner_that_lapsed_is_worth_nothing_even_before_anybody_claims_it(join: Join):
    a = await join()
    lease = await a.create("tag")
    a.owner._lapse()
    assert not lease.valid
    for write in WRITES.values():
        with pytest.raises(Fenced):
            await write(lease)


async def test_an_owner_that_lapsed_claims_nothing_until_it_is_known_again(join: Join):
    a = await join()
    await (await a.create("tag")).release()
    a.owner._lapse()
    with pytest.raises(StoreUnavailable):
        await a.sessions.claim("tag")
    assert await a.owner.begin("127.0.0.1:1")
    assert (await a.take("tag")).lease.valid


async def test_sessions_do_not_touch_each_other(join: Join):
    a, b = await join(), await join()
    mine, other = await a.create("mine"), await b.create("other")
    await append(mine, event("g", b"mine"))
    await append(other, event("g", b"other"))
    await other.finish()
    assert [entry.data for entry in (await mine.read("g", 0)).entries] == [b"mine"]


async def test_deployments_that_share_a_store_do_not_share_sessions(join: Join, place: Place, prefix: str):
    a = await join()
    await a.create("tag")
    stranger = type(a).of(place, f"{prefix}x")
    assert await stranger.owner.begin("127.0.0.1:9")
    assert await stranger.sessions.claim("tag") == Absent()
    await stranger.owner.resign()
    await stranger.store.close()


async def test_a_session_in_use_outlives_its_time_and_a_silent_one_does_not(join: Join, place: Place, prefix: str):
    a = await join(idle_timeout_seconds=60)
    lease = await a.create("tag")
    [key] = [key for key in place.keys(prefix) if ":s:" in key]
    a.sessions.limits = a.sessions.limits.model_copy(update={"idle_timeout_seconds": 600})
    await lease.keep()
    assert place.keys(prefix)[key] > 300_000
    await anyio.to_thread.run_sync(place.expire, key)
    assert await a.sessions.claim("tag") == Absent()


# What one principal may have


async def test_a_principal_may_have_so_many_sessions_whichever_replicas_they_begin_at(join: Join):
    a, b = await join(max_sessions_per_principal=2), await join(max_sessions_per_principal=2)
    assert [await a.sessions.admit("1", "ann"), await b.sessions.admit("2", "ann")] == [True, True]
    assert not await a.sessions.admit("3", "ann")
    assert not await b.sessions.admit("3", "ann")
    assert await b.sessions.admit("3", "bob"), "one principal's sessions are no other's"
    assert await b.sessions.admit("1", "ann"), "one that is in stays in"
    await b.sessions.forget("1", "ann")
    assert await a.sessions.admit("3", "ann")


async def test_of_many_sessions_that_begin_at_once_no_more_are_admitted_than_there_is_room_for(join: Join):
    members = [await join(max_sessions_per_principal=5) for _ in range(2)]
    admitted = await asyncio.gather(*(members[number % 2].sessions.admit(str(number), "ann") for number in range(20)))
    assert sum(admitted) == 5


async def test_a_session_that_expired_makes_room_for_another(join: Join, place: Place):
    brief, lasting = await join(max_sessions_per_principal=2, idle_timeout_seconds=0.05), await join(max_sessions_per_principal=2)
    assert await brief.sessions.admit("1", "ann")
    assert await lasting.sessions.admit("2", "ann")
    await anyio.to_thread.run_sync(place.wait_past, place.now_ms() + 100)
    assert await lasting.sessions.admit("3", "ann")
    assert not await lasting.sessions.admit("4", "ann")


async def test_the_name_of_a_principal_does_not_stand_in_the_store(join: Join, place: Place, prefix: str):
    a = await join()
    assert await a.sessions.admit("1", "ann@example.com")
    assert not [key for key in place.keys(prefix) if "ann" in key]

"""In a store that has no room sessions live on, and what cannot be kept is said; one principal has its share and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from moorage.store.outage import StoreFull
from moorage.store.sessions import Absent, Owned
from moorage.streams.position import Position, recoverable
from tests.logged import logged
from tests.services import Redis
from tests.unit.store.access import Member, Place, append, event, last, opens
from tests.unit.store.members import Join

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A store of its own, which nobody else misses room in."""
    with Redis(options=["maxmemory-clients 0"]) as server:
        it = Place(server.url, lambda: [server.client()], port=server.port)
        yield it
        it.close()


@asynccontextmanager
async def full(place: Place) -> AsyncIterator[None]:
    """Nothing more is let in."""
    [server] = place.servers
    server.config_set("maxmemory", "1kb")
    try:
        yield
    finally:
        server.config_set("maxmemory", "0")


async def alone_sees(member: Member, lease_tag: str, stream: str, offset: int) -> bool:
    """Whether a client that was at an offset can resume at the next owner."""
    taken = (await member.take(lease_tag)).lease
    return recoverable(Position(stream, offset), await taken.read(stream, offset))


async def test_in_a_full_store_sessions_are_kept_handed_over_taken_over_and_ended(join: Join, place: Place):
    a, b = await join(), await join()
    kept, given, lost, ended = [await a.create(tag) for tag in ("kept", "given", "lost", "ended")]
    async with full(place):
        assert await a.owner._beat()
        await kept.keep()
        await given.release()
        assert isinstance(await b.sessions.claim("given"), Owned)
        assert isinstance(await b.sessions.claim("lost", a.dead(lost)), Owned)
        await ended.finish()
        assert isinstance(await b.sessions.claim("ended"), Absent)
        await a.owner.resign()
        assert not await b.owner.is_alive(a.owner.id)


async def test_in_a_full_store_no_session_begins_and_that_is_said(join: Join, place: Place):
    a = await join()
    async with full(place):
        with pytest.raises(StoreFull):
            await a.create("new")
        assert a.store.full
    await a.create("new")
    assert not a.store.full


async def test_that_the_store_is_full_is_one_line_a_minute_however_many_meet_it(join: Join, place: Place):
    a = await join()
    async with full(place):
        with logged() as lines:
            for number in range(20):
                with pytest.raises(StoreFull):
                    await a.create(f"new{number}")
    assert [line["event"] for line in lines] == ["store.full"]


async def test_events_that_a_full_store_does_not_take_have_offsets_and_nobody_resumes_before_them(join: Join, place: Place):
    a, b = await join(), await join()
    lease = await a.create("tag")
    assert await append(lease, opens("x"), event("x")) == 1
    async with full(place):
        assert await append(lease, event("x")) == 2
    assert await append(lease, event("x")) == 3
    assert (await lease.read("x", 1)).lost == 2
    assert a.sessions.unkept == 1
    await lease.release()
    assert not await alone_sees(b, "tag", "x", 1)
    taken = (await b.take("tag", b.dead(lease))).lease
    assert recoverable(Position("x", 2), await taken.read("x", 2))


async def test_a_stream_that_began_and_ended_in_a_full_store_leaves_nothing(join: Join, place: Place, prefix: str):
    lease = await (await join()).create("tag")
    async with full(place):
        await append(lease, opens("x"), event("x"))
        await append(lease, last("x"))
    assert not recoverable(Position("x", 1), await lease.read("x", 1))
    [key] = [key for key in place.keys(prefix) if ":s:" in key]
    assert [name for name in place.server_of(key).hkeys(key) if str(name).endswith(":x")] == []


async def test_a_stream_that_ends_while_the_store_is_full_cannot_be_resumed(join: Join, place: Place):
    lease = await (await join()).create("tag")
    await append(lease, opens("x"), event("x"))
    async with full(place):
        assert await append(lease, last("x")) == 2
    assert not recoverable(Position("x", 1), await lease.read("x", 1))


async def test_no_subscription_is_noted_in_a_full_store(join: Join, place: Place):
    a, b = await join(), await join()
    lease = await a.create("tag")
    async with full(place):
        with pytest.raises(StoreFull):
            await lease.watch({"ship://1": True})
    assert (await b.take("tag", a.dead(lease))).watched == frozenset()


# A principal's share


async def stored(place: Place, prefix: str) -> int:
    """Bytes of values that the store holds for all sessions: fields of hashes and entries of logs."""
    total = 0
    for key in place.keys(prefix):
        server = place.server_of(key)
        if ":s:" in key:
            total += sum(len(str(value)) for name, value in server.hgetall(key).items() if str(name)[:2] in ("c:", "w:"))  # type: ignore[union-attr]
        elif ":l:" in key:
            total += sum(len(str(fields["d"])) for _, fields in server.xrange(key))  # type: ignore[union-attr]
    return total


async def test_the_sessions_of_one_principal_share_what_it_may_have(join: Join, place: Place, prefix: str):
    a = await join(max_bytes_per_principal=40_000, log_bytes=16_000)
    leases = list[object]()
    for number in range(10):
        tag = f"tag{number}"
        assert await a.sessions.admit(tag, "ann")
        lease = await a.sessions.create(tag, "ann")
        leases.append(lease)
        for _ in range(20):
            await append(lease, opens("x"), event("x", b"e" * 1000))
    for lease in leases:
        await append(lease, event("x", b"e" * 1000))  # type: ignore[arg-type]
    assert 20_000 < await stored(place, prefix) <= 40_000


async def test_what_is_larger_than_the_whole_share_is_not_kept_and_nobody_resumes_before_it(join: Join, place: Place, prefix: str):
    lease = await (await join(max_bytes_per_principal=1000)).create("tag")
    await append(lease, opens("x"), event("x", b"small"))
    assert await append(lease, event("x", b"e" * 2000)) == 2
    assert not recoverable(Position("x", 1), await lease.read("x", 1))
    assert recoverable(Position("x", 2), await lease.read("x", 2))
    assert await append(lease, event("x", b"small")) == 3
    assert await stored(place, prefix) < 1000


async def test_registrations_and_subscriptions_count_and_are_given_back(join: Join):
    a, b = await join(max_bytes_per_principal=2000), await join()
    lease = await a.create("tag")
    await append(lease, opens("x", b"r" * 1000))
    assert not await lease.watch({f"ship://{number}": True for number in range(20)})
    assert await lease.watch({"ship://1": True})
    await append(lease, opens("y", b"r" * 1000))  # for which there is no room: a later owner cannot run it again
    await append(lease, last("x"))
    assert await lease.watch({"ship://1": False, "ship://2": True})
    await append(lease, opens("z", b"r" * 500))
    taken = await b.take("tag", a.dead(lease))
    assert (set(taken.calls), taken.unknown, taken.watched) == ({"z"}, ("y",), {"ship://2"})


async def test_what_is_noted_twice_counts_once(join: Join):
    lease = await (await join(max_bytes_per_principal=1000)).create("tag")
    for _ in range(50):
        assert await lease.watch({"ship://1": True})

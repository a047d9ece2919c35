"""What is appended to a session's log is there once, in order and without a gap, as long as retention lets it be; what is gone is named."""

from __future__ import annotations

import asyncio

import anyio
import anyio.to_thread
import pytest

from moorage.store.sessions import Entry, Fenced, Lease
from moorage.streams.position import Position, recoverable
from tests.unit.store.access import WITHIN, Member, Place, append, event, last, opens
from tests.unit.store.members import Join

pytestmark = pytest.mark.anyio
apart = anyio.to_thread.run_sync


async def offsets(lease: Lease, stream: str, after: int = 0) -> list[int]:
    return [entry.offset for entry in (await lease.read(stream, after)).entries]


def log_key(place: Place, prefix: str) -> str:
    [key] = [key for key in place.keys(prefix) if ":l:" in key]
    return key


# Order


async def test_offsets_are_contiguous_over_all_streams_and_owners(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    assert await append(lease, opens("g"), event("g")) == 1
    assert await append(lease, opens("x"), event("x"), event("x"), last("x")) == 2
    await lease.release()
    taken = (await b.take("tag")).lease
    assert await append(taken, event("g")) == 5
    assert await offsets(taken, "g") == [1, 5]
    assert await offsets(taken, "x") == [2, 3, 4]


async def test_what_is_appended_is_read_as_it_was_and_only_in_its_own_stream(join: Join):
    lease = await (await join()).create("tag")
    texts = [b"", b"\x00\xff", "größer".encode(), b"x" * 100_000]
    await append(lease, *(event("x", text) for text in texts), event("y", b"another stream's"))
    assert [entry.data for entry in (await lease.read("x", 0)).entries] == texts


async def test_opening_a_stream_takes_no_offset(join: Join):
    lease = await (await join()).create("tag")
    await append(lease, opens("g"))
    await append(lease, opens("x"))
    assert await append(lease, event("g")) == 1


async def test_many_appends_at_once_leave_no_gap_and_no_double(join: Join):
    lease = await (await join()).create("tag")
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(append, lease, event("g", b"%d" % number))
    entries = (await lease.read("g", 0)).entries
    assert [entry.offset for entry in entries] == list(range(1, 51))
    assert {entry.data for entry in entries} == {b"%d" % number for number in range(50)}


# An answer that is lost


@pytest.mark.parametrize("lost", [1, 3])
async def test_an_append_whose_answer_was_lost_is_tried_again_and_stands_there_once(join: Join, lost: int):
    a = await join()
    lease = await a.create("tag")
    await append(lease, opens("x"), event("x", b"1"))
    a.store.lose_answers = lost
    with anyio.fail_after(WITHIN):
        assert await append(lease, event("x", b"2"), last("x", b"3")) == 2
    assert a.store.lose_answers == 0
    assert (await lease.read("x", 0)).entries == (Entry(1, b"1", False), Entry(2, b"2", False), Entry(3, b"3", True))
    assert await append(lease, event("g")) == 4


async def test_a_registration_whose_answer_was_lost_is_tried_again(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    a.store.lose_answers = 1
    with anyio.fail_after(WITHIN):
        await append(lease, opens("x", b"kept"))
    assert dict((await b.take("tag", a.dead(lease))).calls) == {"x": b"kept"}


async def test_an_append_that_cannot_be_made_ends_with_the_lease(join: Join):
    a = await join()
    lease = await a.create("tag")
    a.store.available = False

    asyncio.get_running_loop().call_soon(a.owner._lapse)
    with anyio.fail_after(WITHIN), pytest.raises(Fenced):
        await append(lease, event("g"))


async def test_an_append_waits_out_a_short_outage(join: Join):
    a = await join()
    lease = await a.create("tag")
    a.store.available = False
    appended: list[int] = []

    async def go_on() -> None:
        appended.append(await append(lease, event("g")))

    with anyio.fail_after(WITHIN):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go_on)
            await anyio.wait_all_tasks_blocked()
            assert appended == []
            a.store.available = True
    assert appended == [1]


async def test_offsets_that_do_not_join_are_refused(join: Join):
    a = await join()
    lease = await a.create("tag")
    await append(lease, event("g"), event("g"))
    lease._head = 1  # as of somebody who does not know what was written
    with anyio.fail_after(WITHIN), pytest.raises(Fenced):  # at once, and not when the lease is over
        await append(lease, event("g"), event("g"))
    assert not lease.valid


@pytest.mark.parametrize("expired", [False, True])
async def test_after_the_store_went_back_to_older_data_no_position_before_is_honoured(join: Join, place: Place, prefix: str, expired: bool):
    lease = await (await join()).create("tag")
    await append(lease, opens("x"), event("x"), event("x"))
    [session] = [key for key in place.keys(prefix) if ":s:" in key]
    older, log = place.server_of(session).hgetall(session), log_key(place, prefix)
    await append(lease, event("x"), event("x"))
    server = place.server_of(session)
    server.hset(session, mapping=older)  # type: ignore[arg-type]
    server.xdel(log, "3-0", "4-0")
    if expired:
        server.delete(log)
    assert await append(lease, event("x")) == 5
    tail = await lease.read("x", 0)
    assert (tail.lost, tail.newest) == (4, 5)
    assert [recoverable(Position("x", offset), await lease.read("x", offset)) for offset in range(6)] == [False] * 4 + [True] * 2


# The register of what is open


async def test_a_stream_is_open_from_its_registration_to_its_last_event(join: Join):
    lease = await (await join()).create("tag")
    assert not (await lease.read("x", 0)).open
    await append(lease, opens("x"))
    tail = await lease.read("x", 0)
    assert (tail.open, tail.newest, tail.head) == (True, None, 0)
    await append(lease, event("x"))
    tail = await lease.read("x", 0)
    assert (tail.open, tail.newest, tail.head) == (True, 1, 1)
    await append(lease, last("x"))
    tail = await lease.read("x", 1)
    assert (tail.open, tail.newest, tail.head) == (False, None, 2)
    assert tail.entries == (Entry(2, b"last", True),)


async def test_a_stream_may_begin_and_end_in_one_step(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    await append(lease, opens("x"), last("x", b"all"))
    assert not (await lease.read("x", 0)).open
    assert dict((await b.take("tag", a.dead(lease))).calls) == {}


async def test_a_read_gives_what_follows_a_position_and_nothing_else(join: Join):
    lease = await (await join()).create("tag")
    await append(lease, opens("x"), event("x", b"1"), event("y", b"2"), event("x", b"3"), event("x", b"4"))
    assert await offsets(lease, "x", 0) == [1, 3, 4]
    assert await offsets(lease, "x", 1) == [3, 4]
    assert await offsets(lease, "x", 2) == [3, 4]
    assert await offsets(lease, "x", 4) == []
    assert await offsets(lease, "x", 99) == []
    assert await offsets(lease, "z", 0) == []


# Retention


async def test_no_more_events_are_kept_than_there_may_be_and_the_last_that_each_stream_lost_is_known(join: Join):
    lease = await (await join(log_events=3)).create("tag")
    await append(lease, opens("x"), opens("y"), opens("z"), event("x"), event("y"), event("x"))
    assert [(await lease.read(stream, 0)).lost for stream in "xyz"] == [0, 0, 0]
    await append(lease, event("z"))
    assert [(await lease.read(stream, 0)).lost for stream in "xyz"] == [1, 0, 0]
    await append(lease, event("z"), event("z"))
    assert [(await lease.read(stream, 0)).lost for stream in "xyz"] == [3, 2, 0]
    assert await offsets(lease, "x") == []
    assert await offsets(lease, "z") == [4, 5, 6]


async def test_a_stream_whose_end_was_trimmed_leaves_no_trace(join: Join, place: Place, prefix: str):
    lease = await (await join(log_events=2)).create("tag")
    for number in range(5):
        await append(lease, opens(f"x{number}"), event(f"x{number}"), last(f"x{number}"))
    tail = await lease.read("x0", 0)
    assert (tail.lost, tail.newest, tail.open, tail.entries) == (0, None, False, ())
    [key] = [key for key in place.keys(prefix) if ":s:" in key]
    server = place.server_of(key)
    fields = server.hkeys(key)
    assert not [name for name in fields if name[:2] in ("c:", "l:", "t:")], "finished streams must not pile up in the session"


async def test_a_finished_stream_of_which_only_the_end_is_left_is_known_to_have_lost_something(join: Join):
    lease = await (await join(log_events=2)).create("tag")
    await append(lease, opens("x"), event("x"), event("x"), last("x"), event("g"))
    tail = await lease.read("x", 0)
    assert (tail.lost, [entry.offset for entry in tail.entries]) == (2, [3])


async def test_no_more_bytes_are_kept_than_there_may_be(join: Join):
    lease = await (await join(log_bytes=100)).create("tag")
    await append(lease, opens("x"), event("x", b"a" * 40), event("x", b"b" * 40))
    assert await offsets(lease, "x") == [1, 2]
    await append(lease, event("x", b"c" * 20))
    assert await offsets(lease, "x") == [1, 2, 3], "exactly the limit"
    await append(lease, event("x", b"d"))
    assert await offsets(lease, "x") == [2, 3, 4]
    assert (await lease.read("x", 0)).lost == 1
    await append(lease, event("x", b"e" * 39))
    assert await offsets(lease, "x") == [2, 3, 4, 5], "what was trimmed counts no more"


async def test_one_event_larger_than_all_that_may_be_kept_is_kept_alone(join: Join):
    lease = await (await join(log_bytes=100)).create("tag")
    await append(lease, opens("x"), event("x", b"small"))
    await append(lease, event("x", b"x" * 1000))
    tail = await lease.read("x", 0)
    assert (tail.lost, [entry.offset for entry in tail.entries]) == (1, [2])
    await append(lease, event("x", b"small"))
    tail = await lease.read("x", 0)
    assert (tail.lost, [entry.offset for entry in tail.entries]) == (2, [3])


async def test_no_event_is_kept_longer_than_it_may_be_on_the_clock_of_the_store(join: Join, place: Place):
    a = await join(log_seconds=300)
    lease = await a.create("tag")
    await append(lease, opens("x"), event("x"), event("x"))
    await apart(place.wait_past, place.now_ms() + 30)
    await append(lease, event("x"))
    assert (await lease.read("x", 0)).lost == 0
    a.sessions.limits = a.sessions.limits.model_copy(update={"log_seconds": 0.02})
    await apart(place.wait_past, place.now_ms() + 30)
    await append(lease, event("x"))
    assert (await lease.read("x", 0)).lost == 3


async def test_the_log_goes_after_its_time_while_the_session_lives(join: Join, place: Place, prefix: str):
    lease = await (await join(log_seconds=100, idle_timeout_seconds=1000)).create("tag")
    await append(lease, event("g"))
    keys = place.keys(prefix)
    assert 0 < keys[log_key(place, prefix)] <= 100_000
    assert [left > 100_000 for key, left in keys.items() if ":s:" in key] == [True]


async def test_after_the_log_expired_what_each_open_stream_had_is_known_to_be_lost(join: Join, place: Place, prefix: str):
    lease = await (await join()).create("tag")
    await append(lease, opens("g"), opens("x"), opens("new"), event("g"), event("x"), event("g"), opens("done"), last("done"))
    await apart(place.expire, log_key(place, prefix))
    tail = await lease.read("g", 0)
    assert (tail.entries, tail.newest, tail.head) == ((), 3, 4), "a reader sees that something is missing"
    assert await append(lease, event("x")) == 5
    lost = {stream: (await lease.read(stream, 0)).lost for stream in ("g", "x", "new", "done")}
    assert lost == {"g": 3, "x": 2, "new": 0, "done": 0}
    assert await offsets(lease, "x") == [5]


async def test_bytes_of_a_log_that_expired_count_no_more(join: Join, place: Place, prefix: str):
    lease = await (await join(log_bytes=100)).create("tag")
    await append(lease, opens("x"), event("x", b"x" * 90))
    await apart(place.expire, log_key(place, prefix))
    await append(lease, event("x", b"y" * 40))
    await append(lease, event("x", b"z" * 40))
    assert await offsets(lease, "x") == [2, 3]


async def test_what_a_next_owner_reads_was_trimmed_by_the_last_ones_limits_alone(join: Join):
    a, b = await join(log_events=10), await join(log_events=2)
    lease = await a.create("tag")
    for _ in range(5):
        await append(lease, event("g"))
    taken = (await b.take("tag", a.dead(lease))).lease
    assert await offsets(taken, "g") == [1, 2, 3, 4, 5]
    await append(taken, event("g"))
    assert await offsets(taken, "g") == [5, 6]
    assert (await taken.read("g", 0)).lost == 4


async def test_an_append_carries_how_far_the_change_notices_came(join: Join):
    a, b = await join(), await join()
    lease = await a.create("tag")
    lease.bus = "5-0"
    await append(lease, event("g"))
    assert (await b.take("tag", a.dead(lease))).bus == "5-0"


async def test_a_busy_session_lives_on(join: Join, place: Place, prefix: str):
    a: Member = await join(idle_timeout_seconds=60)
    lease = await a.create("tag")
    a.sessions.limits = a.sessions.limits.model_copy(update={"idle_timeout_seconds": 600})
    await append(lease, event("g"))
    assert [left > 300_000 for key, left in place.keys(prefix).items() if ":s:" in key] == [True]

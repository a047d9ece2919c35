"""What happens to the log when whoever writes to it is interrupted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from moorage.store.outage import StoreUnavailable
from moorage.store.sessions import Write
from tests.integration.shared.conftest import Replica, Start, events, lose, ping, until
from tests.services import Redis

pytestmark = pytest.mark.anyio


async def _delayed(replica: Replica) -> asyncio.Event:
    """Have the store's answer to every append arrive, and wait until the test lets the owner see it."""
    store: Any = replica.service.replication.store  # type: ignore[union-attr]
    run, appended = store.run, asyncio.Event()

    async def slow(name: str, *arguments: Any) -> Any:
        answer = await run(name, *arguments)
        if name == "append" and not appended.is_set():
            appended.set()
            await asyncio.sleep(0.05)
        return answer

    store.run = slow
    return appended


async def test_a_call_that_is_cancelled_while_the_store_takes_an_event_still_has_its_answer_in_the_log(start: Start):
    replica = await start()
    session = await replica.begin()
    appended = await _delayed(replica)
    call = replica.call(session, "reports", 7)
    await asyncio.wait_for(appended.wait(), 10)

    cancelled = replica.post(session, method="notifications/cancelled", params={"requestId": 7})
    await cancelled.finished()
    await call.finished()

    seen = [(event_id, message) for event_id, message in events(call) if message is not None]
    assert seen[-1][1]["error"]["message"] == "Request cancelled"
    assert len({event_id for event_id, _ in seen}) == len(seen)
    primed = events(call)[0][0]
    resumed = replica.listen(session, primed)
    await resumed.finished()
    assert [event for event in events(resumed) if event[1] is not None] == seen


async def test_an_event_whose_tool_gives_up_waiting_for_it_is_neither_lost_nor_doubled(start: Start):
    replica = await start()
    session = await replica.begin()
    listening = replica.listen(session)
    await until(listening, lambda it: b"id: " in it.body)
    appended = await _delayed(replica)
    [living] = replica.service._sessions()

    writing = asyncio.create_task(living.notify("notifications/first", None))
    await asyncio.wait_for(appended.wait(), 10)
    writing.cancel()
    await asyncio.wait([writing])
    await living.notify("notifications/second", None)
    await until(listening, lambda it: b"second" in it.body)

    methods = [message["method"] for _, message in events(listening) if message is not None]
    assert methods == ["notifications/first", "notifications/second"]
    resumed = replica.listen(session, events(listening)[0][0])
    await until(resumed, lambda it: b"second" in it.body)
    assert events(resumed) == [event for event in events(listening) if event[1] is not None]


async def test_a_store_that_goes_back_to_older_data_under_a_living_owner_leaves_no_silent_gap(start: Start, redis: Redis):
    replica = await start()
    session = await replica.begin()
    listening = replica.listen(session)
    await until(listening, lambda it: b"id: " in it.body)
    [living] = replica.service._sessions()
    await living.notify("notifications/first", None)
    with redis.client() as client:
        older = {key: client.execute_command("DUMP", key, NEVER_DECODE=True) for key in client.scan_iter(f"*{{{living.record.tag}}}")}
    await living.notify("notifications/second", None)
    await until(listening, lambda it: b"second" in it.body)
    listening.leave()
    with redis.client() as client:
        for key, dump in older.items():
            client.execute_command("RESTORE", key, 60_000, dump, "REPLACE")

    await living.notify("notifications/third", None)
    await living.notify("notifications/fourth", None)

    first, second = [event_id for event_id, message in events(listening) if message is not None]
    behind = replica.listen(session, first)
    await behind.finished()
    assert (behind.status, json.loads(behind.body)["error"]["code"]) == (404, -32010)
    up_to_date = replica.listen(session, second)
    await until(up_to_date, lambda it: b"fourth" in it.body)
    assert [message["method"] for _, message in events(up_to_date) if message] == ["notifications/third", "notifications/fourth"]


async def test_an_event_that_the_log_has_without_its_owner_knowing_is_not_seen_twice(start: Start):
    first, second = await start(), await start()
    session = await first.begin()
    call = first.call(session, "once", 7)
    await until(call, lambda it: b"id: " in it.body)
    [running] = next(first.service._sessions()).calls.values()
    store: Any = first.service.replication.store  # type: ignore[union-attr]
    run = store.run

    async def unanswered(name: str, *arguments: Any) -> Any:
        answer = await run(name, *arguments)
        if name == "append":
            await lose(first)
            raise StoreUnavailable("the answer did not come")
        return answer

    store.run = unanswered
    await running.emit({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}})
    store.run = run
    await until(call, lambda it: b"notifications/message" in it.body)
    call.leave()

    resumed = second.listen(session, events(call)[-1][0])
    await resumed.finished()
    first.release.set()
    assert [message["error"]["code"] for _, message in events(resumed) if message] == [-32011]


async def test_a_position_of_an_event_that_the_store_went_back_behind_is_refused_by_the_next_owner(start: Start, redis: Redis):
    first, second = await start(), await start()
    session = await first.begin()
    listening = first.listen(session)
    await until(listening, lambda it: b"id: " in it.body)
    [living] = first.service._sessions()
    tag = living.record.tag
    await living.notify("notifications/first", None)
    with redis.client() as client:
        older = {key: client.execute_command("DUMP", key, NEVER_DECODE=True) for key in client.scan_iter(f"*{{{tag}}}")}
    await living.notify("notifications/second", None)
    await until(listening, lambda it: b"second" in it.body)
    kept, lost = [event_id for event_id, message in events(listening) if message is not None]
    with redis.client() as client:
        for key, dump in older.items():
            client.execute_command("RESTORE", key, 60_000, dump, "REPLACE")
    await lose(first)

    assert await ping(second, session) == 200
    [taken] = second.service._sessions()
    await taken.notify("notifications/third", None)
    await taken.notify("notifications/fourth", None)

    beyond = second.listen(session, lost)
    await beyond.finished()
    assert (beyond.status, json.loads(beyond.body)["error"]["code"]) == (404, -32010)
    resumed = second.listen(session, kept)
    await until(resumed, lambda it: b"fourth" in it.body)
    assert [message["method"] for _, message in events(resumed) if message] == ["notifications/third", "notifications/fourth"]


async def test_a_stream_that_has_ended_leaves_nothing_in_the_store_once_the_log_has_expired(start: Start, redis: Redis):
    replica = await start(sessions={"log_events": 10})
    await replica.begin()
    [living] = replica.service._sessions()
    lease = living.lease
    assert lease is not None
    async with lease.lock:
        await lease.append(Write("open", "x", b"{}"), *[Write("event", "x", b"1")] * 12, Write("last", "x", b"2"))
    with redis.client() as client:
        [session] = client.scan_iter(f"*:s:{{{lease.tag}}}")
        [log] = client.scan_iter(f"*:l:{{{lease.tag}}}")
        assert client.hexists(session, "t:x")
        client.delete(log)

        async with lease.lock:
            await lease.append(Write("open", "g", b"{}"), Write("event", "g", b"3"))

        assert [name for name in client.hkeys(session) if str(name).endswith(":x")] == []

"""What one session, one takeover or one full store may cost, as a client and an operator see it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from mcp.shared.exceptions import MCPError

from tests.integration.shared.conftest import Start, events, holds, ping, until
from tests.services import Redis, sealing_key

pytestmark = pytest.mark.anyio


async def test_a_session_is_not_claimed_where_there_is_no_room_for_it(start: Start):
    owner, small = await start(), await start(sessions={"max_sessions": 1})
    mine, other = await owner.begin(), await small.begin()
    listening = small.listen(other)
    await until(listening, lambda it: b"id: " in it.body)
    await owner.service.end_streams()  # it hands over what is idle
    assert owner.service.open_sessions == 0

    refused = small.post(mine, id=1, method="ping")
    await refused.finished()

    assert orjson.loads(refused.body)["error"]["data"]["reason"] == "session_limit"
    assert small.service.open_sessions == 1
    assert await ping(await start(), mine) == 200, "nobody had claimed it"


async def test_a_message_that_is_too_large_for_the_log_is_its_senders_error_and_an_answer_is_kept_in_words(start: Start):
    replica = await start(sessions={"max_event_bytes": 4096})
    session = await replica.begin()
    listening = replica.listen(session)
    await until(listening, lambda it: b"id: " in it.body)
    [living] = replica.service._sessions()
    feed: Any = living.get_feed

    with pytest.raises(MCPError, match="max_event_bytes"):
        await living.notify("notifications/message", {"data": "x" * 5000})
    await feed.emit({"jsonrpc": "2.0", "id": 7, "result": {"text": "x" * 5000}}, last=True)

    await until(listening, lambda it: b"x" * 5000 in it.body)
    [kept] = await feed.read()
    assert "max_event_bytes" in orjson.loads(kept.data)["error"]["message"]
    assert events(listening)[-1][1]["result"], "who was connected has it whole"


async def test_a_full_store_refuses_new_sessions_in_words_and_serves_the_others(start: Start, redis: Redis):
    replica = await start()
    session = await replica.begin()
    with redis.client() as client:
        client.config_set("maxmemory", "1kb")
        try:
            opening = replica.open(
                "POST",
                {},
                {
                    "jsonrpc": "2.0",
                    "id": 0,
                    "method": "initialize",
                    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
                },
            )
            await opening.finished()
            assert (opening.status, orjson.loads(opening.body)["error"]["data"]["reason"]) == (503, "store_full")
            assert await ping(replica, session) == 200
            replica.release.set()
            call = replica.call(session, "again")
            await call.finished()
            assert events(call)[-1][1]["result"], "a call that streams is answered"
            replication: Any = replica.service.replication
            assert "full" in replication.trouble()
        finally:
            client.config_set("maxmemory", "0")


async def test_another_ring_at_the_prefix_is_noticed_and_not_refused(start: Start):
    one = await start()
    other = await start(security={"sealing_keys": sealing_key()})
    replication: Any = other.service.replication
    await replication._look_at_rings()
    assert "another ring" in replication.trouble()
    assert await ping(other, await other.begin()) == 200
    mine: Any = one.service.replication
    await mine._look_at_rings()
    await holds(lambda: mine.other_rings == 1)

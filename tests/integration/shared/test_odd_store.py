"""A thousand odd entries in every key that the service reads: the replicas live on, and sessions that have none of them notice nothing."""

from __future__ import annotations

import contextlib
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
import redis as client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.server.subscriptions import ToolsListChanged
from mcp.shared.exceptions import MCPError

from tests.integration.shared.conftest import Replica, Start, events, holds, until
from tests.services import Redis

pytestmark = pytest.mark.anyio

ENTRIES_AT_ONCE, ROUNDS = 20, 50

FIELDS = ["owner", "epoch", "entry", "v", "head", "bytes", "kept", "eras", "bus", "address", "n:watched", "c:g", "c:x-1", "c:\x00"]
FIELDS += ["t:g", "l:g", "l:x-1", "t:x-1", "w:" + "0" * 32, "w:short"]
KEYS = ["session", "log", "owner", "principal", "bus", "rings"]
TYPES = ["string", "list", "set", "zset", "hash", "stream"]

odd = st.one_of(
    st.binary(max_size=48),
    st.integers(-(10**20), 10**20).map(lambda number: b"%d" % number),
    st.sampled_from([b"", b"1e300", b"nan", b"9" * 400, b"\xff", b"[]", b"{}", b"null", b"m" * 22 + b":x", b"m" * 22 + b":" + b"9" * 40]),
)
names = st.one_of(st.sampled_from([b"k", b"u", b"v", b"s", b"m", b"d"]), st.binary(min_size=1, max_size=4))
kinds = st.sampled_from([b"moved", b"tools", b"resource", b"everything", b"begun", b"new", b"\xff"])
fields = st.one_of(
    st.dictionaries(names, odd, min_size=1, max_size=5),
    st.fixed_dictionaries({b"k": st.one_of(kinds, odd), b"u": odd}, optional={b"v": odd}),
)
ids = st.one_of(st.just("*"), st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)).map(lambda pair: f"{pair[0]}-{pair[1]}"))
scores = st.floats(allow_nan=False)
entries = st.one_of(
    st.tuples(st.just("field"), st.sampled_from(FIELDS), odd),
    st.tuples(st.just("no field"), st.sampled_from(FIELDS), st.none()),
    st.tuples(st.just("type"), st.sampled_from(KEYS), st.sampled_from(TYPES)),
    st.tuples(st.just("entry"), st.sampled_from(["log", "bus"]), st.tuples(ids, fields)),
    st.tuples(st.just("value"), st.sampled_from(["owner"]), odd),
    st.tuples(st.just("member"), st.sampled_from(["principal", "rings"]), st.tuples(odd, scores)),
)


class Attack:
    """Writes odd entries beside one session."""

    def __init__(self, server: client.Redis, tag: str, owner: str) -> None:
        self._server = server
        [session] = server.scan_iter(f"*:s:{{{tag}}}")
        deployment = str(session).partition(":2:s:")[0]
        self._keys = {
            "session": str(session),
            "log": str(session).replace(":s:", ":l:"),
            "owner": f"{deployment}:2:owner:{{{owner}}}",
            "principal": next(iter(server.scan_iter(f"{deployment}:2:p:*")), f"{deployment}:2:p:{{x}}"),
            "bus": f"{deployment}:bus",
            "rings": f"{deployment}:rings",
        }

    def write(self, what: str, where: str, value: Any) -> None:
        server = self._server
        try:
            match what:
                case "field":
                    server.hset(self._keys["session"], where, value)
                case "no field":
                    server.hdel(self._keys["session"], where)
                case "type":
                    server.delete(self._keys[where])
                    self._make(self._keys[where], value)
                case "entry":
                    server.xadd(self._keys[where], value[1], id=value[0])
                case "value":
                    server.set(self._keys[where], value)
                case _:
                    server.zadd(self._keys[where], {value[0]: value[1]})
        except client.ResponseError:
            pass  # the store itself refuses it: another entry has given the key another type, or the number is behind the last

    def _make(self, key: str, kind: str) -> None:
        server = self._server
        {
            "string": lambda: server.set(key, "x"),
            "list": lambda: server.rpush(key, "x"),
            "set": lambda: server.sadd(key, "x"),
            "zset": lambda: server.zadd(key, {"x": 1}),
            "hash": lambda: server.hset(key, "x", "y"),
            "stream": lambda: server.xadd(key, {"x": "y"}),
        }[kind]()


async def status(replica: Replica, session: str) -> int | None:
    ping = replica.post(session, id="ping", method="ping")
    await ping.finished()
    return ping.status


async def test_no_odd_entry_leaves_the_session_that_met_it(start: Start, redis: Redis):
    replicas = [await start(store={"timeout_seconds": 0.5}) for _ in range(3)]
    first = replicas[0]
    bystander = await first.begin()
    listening = first.listen(bystander)
    await until(listening, lambda it: b"id: " in it.body)
    [tag] = [session.record.tag for session in first.service._sessions()]

    async def meet(some: list[tuple[str, str, Any]]) -> None:
        victim = await first.begin()
        reading = first.listen(victim)
        await until(reading, lambda it: b"id: " in it.body)
        [living] = [session for session in first.service._sessions() if session.id == victim]
        with redis.client() as server:
            attack = Attack(server, living.record.tag, "somebody")
            for what, where, value in some:
                attack.write(what, where, value)
        with contextlib.suppress(MCPError):  # its sender is told where the session has left this replica, and its reader, before the notice
            await living.notify("notifications/message", {"level": "info", "data": 1})
        for replica in reversed(replicas):
            assert await status(replica, victim) in (200, 404)
            assert await status(replica, bystander) == 200
        resumed = replicas[1].listen(victim, events(reading)[0][0])
        await holds(lambda: resumed.status)
        assert resumed.status in (200, 404)
        resumed.leave()
        reading.leave()

    @settings(max_examples=ROUNDS, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
    @given(st.lists(entries, min_size=ENTRIES_AT_ONCE, max_size=ENTRIES_AT_ONCE))
    def everywhere(some: list[tuple[str, str, Any]]) -> None:
        anyio.from_thread.run(meet, some)

    await anyio.to_thread.run_sync(everywhere)

    assert sum(sum(replica.service.replication.store.oddities.counts.values()) for replica in replicas) > ROUNDS  # type: ignore[union-attr]
    assert tag in [session.record.tag for session in first.service._sessions()], "nobody has taken it from where it was"
    told = len(events(listening))
    for replica in replicas:
        await replica.service._notices.publish(ToolsListChanged())
        assert await status(replica, await replica.begin()) == 200
    await until(listening, lambda it: any(message for _, message in events(it)[told:] if message and "tools" in message["method"]))

"""Sessions outlive their replicas, their streams and outages of the store; and when they end, nothing of them is left anywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2 as httpx
import pytest

from moorage.streams.position import base36
from tests.integration.serving import appears, client, modern, request
from tests.integration.sharing import (
    ANN,
    BOB,
    GONE,
    KEYS,
    OUTCOME_UNKNOWN,
    POSITION_LOST,
    Party,
    calling,
    deployed,
    error_of,
    eventually,
    gauge,
    is_number,
    last_message,
    numbers_of,
    progress_of,
    text_of,
)
from tests.services import Fleet, Redis, Replica, addresses_of

pytestmark = pytest.mark.anyio
apart = anyio.to_thread.run_sync


@pytest.fixture(scope="module")
def store() -> Iterator[Redis]:
    with Redis() as it:
        yield it


@pytest.fixture
async def pair(store: Redis) -> AsyncIterator[Fleet]:
    """Two replicas that a test may break."""
    async with deployed(store=store, **KEYS) as it:
        yield it


@pytest.fixture(scope="module")
def restless_store() -> Iterator[Redis]:
    with Redis() as it:
        yield it


@pytest.fixture(scope="module")
async def restless(restless_store: Redis) -> AsyncIterator[Fleet]:
    """Two replicas that keep nothing for long: no idle session, no stream, few events."""
    settings = {"SESSIONS__PARK_AFTER_SECONDS": "0.5", "SESSIONS__STREAM_MAX_AGE_SECONDS": "2", "SESSIONS__LOG_EVENTS": "10"}
    async with deployed(store=restless_store, **settings) as it:
        yield it


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with client() as it:
        yield it


def owners(store: Redis) -> list[str]:
    """Who owns each session; nobody is empty."""
    with store.client() as keys:
        return [str(keys.hget(key, "owner")) for key in keys.scan_iter("moorage:2:s:*")]


# A replica is lost


async def test_when_a_replica_is_killed_its_calls_end_at_the_other_as_their_tools_allow(
    pair: Fleet, http: httpx.AsyncClient, tmp_path: Path
):
    a, b = pair
    ann, last = await Party.begin(http, a, ANN), {}
    async with AsyncExitStack() as stack:
        for number, tool in enumerate(("look", "moor", "launch")):
            stream = await stack.enter_async_context(ann.calling(a, tool, number, path=str(tmp_path / tool)))
            await stream.until(lambda message: progress_of([message]) == [3])
            last[tool] = stream.last
        await apart(a.kill)
    (tmp_path / "launch").touch()
    async with ann.listening(b, last["launch"]) as stream:
        [answer] = await stream.rest()
        assert (answer["id"], answer["error"]["code"]) == (2, OUTCOME_UNKNOWN)
        assert "unknown" in answer["error"]["message"].lower()
    for number, tool in enumerate(("look", "moor")):
        async with ann.listening(b, last[tool]) as stream:
            (tmp_path / tool).touch()
            rest = await stream.rest()
            assert progress_of(rest) == [4], "progress never falls back"
            assert rest[-1]["id"] == number
            assert text_of(rest[-1]) == f"done with {tool}"
    runs = {tool: (tmp_path / f"{tool}.runs").read_text().count("run") for tool in last}
    assert runs == {"look": 2, "moor": 2, "launch": 1}
    assert await gauge(http, b, "moorage_sessions_taken_over_total") == 1


async def test_when_a_replica_is_killed_its_sessions_go_on_at_the_other(pair: Fleet, http: httpx.AsyncClient):
    a, b = pair
    ann, bob = await Party.begin(http, a, ANN), await Party.begin(http, a, BOB)
    assert (await ann.post(b, request("resources/subscribe", {"uri": "ship://argo"}))).status_code == 200
    async with ann.listening(b) as stream:
        await ann.call(a, "tell", first=1, last=2)
        await stream.until(is_number(1))
        seen = stream.last
        await apart(a.kill)
    assert await bob.call(b, "publish", uri="ship://argo") == "published"
    async with ann.listening(b, seen) as stream:
        assert numbers_of([await stream.message()]) == [2]
        assert (await stream.message())["params"] == {"uri": "ship://argo"}
        await ann.call(b, "tell", first=3, last=3)
        assert numbers_of([await stream.message()]) == [3]


async def test_a_replica_that_hangs_is_succeeded_and_does_no_harm_when_it_goes_on(pair: Fleet, http: httpx.AsyncClient):
    a, b = pair
    ann = await Party.begin(http, a, ANN)
    async with ann.listening(b) as stream:
        await ann.call(b, "tell", first=1, last=1)
        await stream.until(is_number(1))
        seen = stream.last
    a.pause()
    try:
        outcome = await eventually(lambda: _told(ann, b, 2), "A is given up")
        assert await ann.call(b, "tell", 3, first=3, last=3) == "told", "B owns the session"
    finally:
        a.resume()
    await apart(a.logged, lambda line: "owner.lapsed" in line)
    assert await eventually(lambda: _told(ann, a, 4), "A serves under another name") == "told"
    async with ann.listening(a, seen) as stream:
        kept = [2, 3, 4] if outcome == "told" else [3, 4]
        assert numbers_of([await stream.message() for _ in kept]) == kept, "what A did after its time is fenced"


async def _told(party: Party, replica: Replica, number: int) -> str | None:
    response = await party.post(replica, calling("tell", number, first=number, last=number))
    if "retry-after" in response.headers:
        return None
    answer = last_message(response)
    if "result" in answer:
        return text_of(answer)
    assert answer["error"]["code"] == OUTCOME_UNKNOWN
    return "unknown"


# A replica ends


async def test_a_drain_hands_sessions_over_and_loses_nothing(pair: Fleet, http: httpx.AsyncClient, tmp_path: Path):
    a, b = pair
    ann = await Party.begin(http, a, ANN)
    async with ann.calling(a, "launch", path=str(tmp_path / "x")) as call, ann.listening(a) as stream:
        await call.until(lambda message: progress_of([message]) == [3])
        await ann.call(b, "tell", 2, first=1, last=3)
        await stream.until(is_number(2))
        a.terminate()
        assert numbers_of(await stream.rest()) == [3]
        assert stream.retry is not None
        (tmp_path / "x").touch()
        assert text_of((await call.rest())[-1]) == "done with x"
        seen = stream.last
    assert await apart(a.exited) == 0
    async with ann.listening(b, seen) as stream:
        assert await ann.call(b, "tell", 3, first=4, last=5) == "told"
        assert numbers_of([await stream.message() for _ in range(2)]) == [4, 5]
    assert (tmp_path / "x.runs").read_text() == "run\n"
    assert "session.taken_over" not in b.log, "what was handed over need not be taken"


# A session ends


@pytest.mark.parametrize("through", [0, 1])
async def test_a_session_that_ends_leaves_nothing_anywhere(store: Redis, http: httpx.AsyncClient, tmp_path: Path, through: int):
    async with deployed(store=store, STORE__PREFIX=f"left{through}") as fleet:
        a, b = fleet
        party = await Party.begin(http, a)
        assert (await party.post(b, request("resources/subscribe", {"uri": "ship://argo"}))).status_code == 200
        async with AsyncExitStack() as stack:
            gets = await stack.enter_async_context(party.listening(b))
            call = await stack.enter_async_context(party.calling(b, "look", path=str(tmp_path / "x")))
            question = await stack.enter_async_context(party.calling(a, "ask", 2))
            await call.until(lambda message: progress_of([message]) == [3])
            await question.message()
            await party.call(a, "tell", 3, first=1, last=1)
            await gets.until(is_number(1))
            assert await gauge(http, a, "moorage_sessions_active") == 1
            assert (await party.delete(fleet[through])).status_code == 200
            assert await gets.rest() == []
            assert "error" in (await call.rest())[-1]
            assert (await question.rest())[-1].get("error") or question.seen, "the stream ended"
        await appears(tmp_path / "x.cancelled")
        for replica in fleet:
            assert error_of(await party.post(replica, calling("add", a=1, b=1))) == GONE
            for name in ("moorage_sessions_active", "moorage_streams_active"):
                assert await eventually(lambda name=name, replica=replica: _is_zero(http, replica, name), f"{name} is 0")
        with store.client() as keys:
            left = {key: keys.pttl(key) for key in keys.scan_iter(f"left{through}:*")}
        assert {key.partition(":{")[0].partition(":")[2] for key in left} == {"bus", "2:owner", "rings"}
        assert min(left.values()) > 0  # type: ignore[type-var]


async def _is_zero(http: httpx.AsyncClient, replica: Replica, name: str) -> bool:
    return await gauge(http, replica, name) == 0


async def test_a_session_that_nobody_uses_ends_for_all(http: httpx.AsyncClient):
    with Redis() as store:
        async with deployed(store=store, SESSIONS__IDLE_TIMEOUT_SECONDS="1", SESSIONS__PARK_AFTER_SECONDS="3600") as fleet:
            party = await Party.begin(http, fleet[0])

            async def no_key() -> bool:
                with store.client() as keys:
                    return not [
                        key for key in keys.scan_iter("*") if not key.startswith(("moorage:2:owner", "moorage:bus", "moorage:rings"))
                    ]

            assert await eventually(no_key, "the session has left the store")
            assert await eventually(lambda: _is_zero(http, fleet[0], "moorage_sessions_active"), "the session has left its owner")
            for replica in fleet:
                assert error_of(await party.post(replica, calling("add", a=1, b=1))) == GONE


# A replica keeps little


async def test_an_idle_session_is_parked_and_comes_back_with_its_next_request(
    restless: Fleet, restless_store: Redis, http: httpx.AsyncClient
):
    a, b = restless
    party = await Party.begin(http, a)
    assert await eventually(lambda: _is_zero(http, a, "moorage_sessions_active"), "A has let go of it")
    assert owners(restless_store) == [""]
    assert await party.call(b, "add", a=1, b=2) == "3"
    assert await eventually(lambda: _is_zero(http, b, "moorage_sessions_active"), "B has let go of it")
    assert [event["event"] for event in (*a.events(), *b.events()) if event["event"] == "session.taken_over"] == []
    assert (await party.delete(a)).status_code == 200


async def test_a_parked_session_keeps_its_events_and_what_it_listens_to(restless: Fleet, http: httpx.AsyncClient):
    a, b = restless
    party, other = await Party.begin(http, a), await Party.begin(http, b)
    assert (await party.post(a, request("resources/subscribe", {"uri": "ship://argo"}))).status_code == 200
    async with party.listening(a) as stream:
        seen = (await stream.event()).id
    await party.call(a, "tell", first=1, last=2)
    assert await eventually(lambda: _is_zero(http, a, "moorage_sessions_active"), "A has let go of it")
    assert await other.call(b, "publish", uri="ship://argo") == "published"
    *told, updated = await party.hear(b, seen, 3)
    assert numbers_of(told) == [1, 2]
    assert updated["params"] == {"uri": "ship://argo"}
    for each in (party, other):
        assert (await each.delete(a)).status_code == 200


async def test_an_old_stream_ends_with_a_hint_and_its_client_resumes_it_without_a_loss(restless: Fleet, http: httpx.AsyncClient):
    a, b = restless
    party, numbers, last = await Party.begin(http, a), list[int](), None
    for turn in range(3):
        async with party.listening((a, b)[turn % 2], last) as stream:
            await party.call(b, "tell", turn, first=2 * turn, last=2 * turn)
            numbers += numbers_of(await stream.rest())
            assert stream.retry is not None
            assert stream.last is not None
            last = stream.last
        await party.call(a, "tell", turn, first=2 * turn + 1, last=2 * turn + 1)
    numbers += numbers_of(await party.hear(a, last, 1))
    assert numbers == list(range(6))
    assert (await party.delete(a)).status_code == 200


async def test_a_position_that_was_trimmed_is_refused_and_a_later_one_is_honoured(restless: Fleet, http: httpx.AsyncClient):
    a, b = restless
    party = await Party.begin(http, a)
    async with party.listening(a) as stream:
        first = (await stream.event()).id
    assert first is not None
    await party.call(b, "tell", first=1, last=15)
    ids = [f"{first.rpartition('.')[0]}.{base36(offset)}" for offset in range(16)]
    assert ids[0] == first
    for replica in (a, b):
        assert [await party.refused_stream(replica, each) for each in ids[:5]] == [POSITION_LOST] * 5
    assert numbers_of(await party.hear(b, ids[5], 10)) == list(range(6, 16))
    assert (await party.delete(a)).status_code == 200


# The store


async def test_while_the_store_is_away_modern_calls_go_on_and_sessions_are_asked_to_come_again(http: httpx.AsyncClient):
    body, headers = modern("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})

    async def refused(replica: Replica) -> bool:
        response = await party.post(replica, calling("add", a=1, b=2))
        answer = last_message(response)
        if "result" in answer:
            return False
        assert (response.status_code, response.headers["retry-after"]) == (200, "1"), "mcp 1.x ends its session on any other status"
        assert answer["error"]["data"] == {"reason": "store_unavailable", "retryAfterSeconds": 1}
        return True

    async def served(replica: Replica) -> bool:
        response = await party.post(replica, calling("add", a=1, b=2))
        return "retry-after" not in response.headers and text_of(last_message(response)) == "3"

    with Redis() as store:
        async with deployed(store=store, STORE__TIMEOUT_SECONDS="0.5") as fleet:
            party = await Party.begin(http, fleet[0])
            async with party.listening(fleet[1]) as stream:
                await party.call(fleet[0], "tell", first=1, last=2)
                await stream.until(is_number(1))
                seen = stream.last
            store.pause()
            for replica in fleet:
                assert await eventually(lambda replica=replica: refused(replica), "legacy calls are refused")
                assert text_of(last_message(await http.post(f"{replica.url}/mcp", json=body, headers=headers))) == "3"
                assert await eventually(lambda replica=replica: _is_zero(http, replica, "moorage_store_up"), "the outage is told")
                detail = await http.get(f"{replica.admin_url}/readyz?verbose")
                assert detail.status_code == 200, "a replica that serves modern calls is ready"
                assert "[!]store:" in detail.text
            store.resume()
            for replica in fleet:
                assert await eventually(lambda replica=replica: served(replica), "the session is served again")
            async with party.listening(fleet[1], seen) as stream:
                assert numbers_of([await stream.message()]) == [2]
            for replica in fleet:
                assert "[!]store:" not in (await http.get(f"{replica.admin_url}/readyz?verbose")).text
                logged = [event["event"] for event in replica.events()]
                assert logged.count("store.out") == 1
                assert "Traceback" not in replica.log


async def test_what_a_store_lost_is_gone_and_what_it_kept_goes_on(http: httpx.AsyncClient):
    async def begins(replica: Replica) -> Party | None:
        try:
            return await Party.begin(http, replica)
        except AssertionError:  # 503, until the store is known to be back
            return None

    with Redis(appendonly=True) as store:
        async with deployed(store=store) as fleet:
            a, b = fleet
            party = await Party.begin(http, a)
            async with party.listening(a) as stream:
                await party.call(b, "tell", first=1, last=2)
                await stream.until(is_number(1))
                seen = stream.last
            await apart(lambda: store.restart(keep_data=True))
            again = await eventually(lambda: begins(b), "B serves")
            async with party.listening(b, seen) as stream:
                assert numbers_of([await stream.message()]) == [2]
            await apart(lambda: store.restart(keep_data=False))
            again = await eventually(lambda: begins(b), "B serves")
            for replica in (a, b):
                assert await eventually(lambda replica=replica: _is_gone(party, replica), "the session is gone")
            assert seen is not None
            assert await again.refused_stream(a, seen) == POSITION_LOST
            assert await again.call(a, "add", a=1, b=2) == "3"


async def _is_gone(party: Party, replica: Replica) -> bool:
    response = await party.post(replica, calling("tell", first=9, last=9))
    return response.status_code == 404 and error_of(response) == GONE


async def test_a_store_that_gives_up_keys_when_it_is_full_is_told_of(http: httpx.AsyncClient):
    with Redis(maxmemory="64mb", maxmemory_policy="allkeys-lru") as store:
        async with deployed(1, store=store) as fleet:
            line = await apart(fleet[0].logged, lambda line: "store.evicts" in line)
            assert json.loads(line)["maxmemory_policy"] == "allkeys-lru"
            detail = await http.get(f"{fleet[0].admin_url}/readyz?verbose")
            assert detail.status_code == 200
            assert "[!]store: maxmemory-policy is allkeys-lru" in detail.text


async def test_a_replica_starts_before_its_store_and_serves_sessions_when_it_is_there(http: httpx.AsyncClient):
    store = Redis()
    async with deployed(1, store=store) as fleet:
        refused = await http.post(
            f"{fleet[0].url}/mcp", json=request("initialize"), headers={"accept": "application/json, text/event-stream"}
        )
        assert refused.status_code != 500
        async with store:

            async def begins() -> Party | None:
                try:
                    return await Party.begin(http, fleet[0])
                except AssertionError:
                    return None

            assert await (await eventually(begins, "it serves")).call(fleet[0], "add", a=1, b=2) == "3"


# Workers


async def test_several_workers_of_one_replica_share_sessions_as_replicas_do(store: Redis, tmp_path: Path):
    async with deployed(1, store=store, SERVER__WORKERS="2", STORE__PREFIX="workers") as fleet:
        replica, served = fleet[0], set[str]()
        with store.client() as keys:

            async def both() -> bool:
                return len(list(keys.scan_iter("workers:*:owner:*"))) == 2

            assert await eventually(both, "each worker is an owner")
            addresses = addresses_of(keys, "workers", fleet.sealing_key)
        assert len({*addresses.values()}) == 2, "each has a door of its own"
        async with client() as first:
            party = await Party.begin(first, replica)
            async with party.listening(replica) as stream:
                for number in range(1, 21):  # each on a connection of its own, which either worker may get
                    async with client() as another:
                        elsewhere = Party(another, party.headers)
                        assert await elsewhere.call(replica, "tell", number, first=number, last=number) == "told"
                assert numbers_of([await stream.message() for _ in range(20)]) == list(range(1, 21))
            async with client() as another, Party(another, party.headers).listening(replica, stream.seen[5].id) as resumed:
                assert len([await resumed.message() for _ in range(15)]) == 15
        served = {event["event"] for event in replica.events()}
        assert "session.taken_over" not in served

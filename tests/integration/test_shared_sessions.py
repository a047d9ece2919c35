"""Two replicas and a store: whatever a client does with its session, it may do at either of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import httpx2 as httpx
import pytest

from tests.integration.serving import appears, client, modern, request
from tests.integration.sharing import (
    ANN,
    BOB,
    GONE,
    KEYS,
    POSITION_LOST,
    WITHIN,
    Events,
    Party,
    calling,
    deployed,
    error_of,
    gauge,
    is_number,
    last_message,
    numbers_of,
    progress_of,
    text_of,
)
from tests.services import Fleet, Redis, Replica

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def store() -> Iterator[Redis]:
    with Redis() as it:
        yield it


@pytest.fixture(scope="module")
async def fleet(store: Redis) -> AsyncIterator[Fleet]:
    async with deployed(store=store, **KEYS) as it:
        yield it


@pytest.fixture
def a(fleet: Fleet) -> Replica:
    return fleet[0]


@pytest.fixture
def b(fleet: Fleet) -> Replica:
    return fleet[1]


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with client() as it:
        yield it


@pytest.fixture
async def ann(http: httpx.AsyncClient, a: Replica) -> Party:
    """A session that A owns."""
    return await Party.begin(http, a, ANN)


# Any replica answers


async def test_a_session_is_served_by_every_replica(ann: Party, a: Replica, b: Replica):
    answers = [await ann.call(replica, "add", number, a=number, b=1) for number, replica in enumerate([a, b, b, a, b])]
    assert answers == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("revision", ["2025-11-25", "2025-06-18", "2025-03-26"])
async def test_a_session_of_every_revision_is_served_by_every_replica(http: httpx.AsyncClient, a: Replica, b: Replica, revision: str):
    party = await Party.begin(http, a, ANN, revision)
    async with party.listening(b) as stream:
        assert await party.call(a, "tell", first=1, last=2) == "told"
        assert [(await stream.message())["params"]["data"] for _ in range(2)] == [1, 2]
        seen = stream.last
    async with party.listening(a, seen) as stream:
        assert await party.call(b, "tell", first=3, last=3) == "told"
        assert (await stream.message())["params"]["data"] == 3


async def test_only_the_revision_that_knows_it_gets_an_event_without_data(http: httpx.AsyncClient, a: Replica, b: Replica):
    for revision, primed in (("2025-11-25", True), ("2025-06-18", False)):
        party = await Party.begin(http, a, ANN, revision)
        async with party.listening(b) as stream:
            assert await party.call(a, "tell", first=1, last=1) == "told"
            event = await stream.event()
            assert event.id is not None
            assert (event.data is None) == primed


async def test_a_call_that_two_replicas_are_asked_for_is_in_flight_once(ann: Party, a: Replica, b: Replica, tmp_path: Path):
    async with ann.calling(a, "look", 7, path=str(tmp_path / "x")) as stream:
        await stream.message()
        refused = await ann.post(b, calling("look", 7, path=str(tmp_path / "x")))
        assert refused.status_code == 400
        assert "already in flight" in refused.text
        (tmp_path / "x").touch()
        assert text_of((await stream.rest())[-1]) == "done with x"
    assert (tmp_path / "x.runs").read_text() == "run\n"


# Ids that stand for nothing


async def test_a_forged_a_foreign_and_an_ended_session_are_the_same_nothing(ann: Party, http: httpx.AsyncClient, a: Replica, b: Replica):
    ended = await Party.begin(http, a, ANN)
    assert (await ended.delete(a)).status_code == 200
    middle = len(ann.id) // 2
    flipped = "A" if ann.id[middle] != "A" else "B"
    nothing = {
        "forged": ann.stranger(**{"mcp-session-id": ann.id[:middle] + flipped + ann.id[middle + 1 :]}),
        "cut": ann.stranger(**{"mcp-session-id": ann.id[:-4]}),
        "of another time": ann.stranger(**{"mcp-session-id": "6f1ed002ab5595859014ebf0951522d9"}),
        "foreign": ann.stranger(authorization=f"Bearer {BOB}"),
        "ended": ended,
    }
    for replica in (a, b):
        answers = {name: await party.post(replica, calling("add", 1, a=1, b=2)) for name, party in nothing.items()}
        assert {name: error_of(answer) for name, answer in answers.items()} == dict.fromkeys(nothing, GONE)
        assert len({answer.text for answer in answers.values()}) == 1
        assert len({tuple(sorted(set(answer.headers) - {"date"})) for answer in answers.values()}) == 1
        assert [(await party.delete(replica)).status_code for party in nothing.values()] == [404] * 5
        for party in nothing.values():
            assert await party.refused_stream(replica, "x") == GONE
    assert await ann.call(b, "add", a=1, b=2) == "3", "nothing of that has touched the session"


# Resumption


async def test_a_get_stream_is_resumed_at_the_other_replica_with_all_that_was_missed_and_what_comes_then(
    ann: Party, a: Replica, b: Replica
):
    async with ann.listening(a) as stream:
        await ann.call(a, "tell", first=1, last=3)
        await stream.until(is_number(1))
        seen = stream.last
    await ann.call(b, "tell", first=4, last=5)
    async with ann.listening(b, seen) as stream:
        await ann.call(a, "tell", first=6, last=8)
        await stream.until(is_number(8))
        assert [event.data["params"]["data"] for event in stream.seen] == [2, 3, 4, 5, 6, 7, 8]


async def test_a_stream_that_is_cut_again_and_again_while_events_flow_loses_and_doubles_nothing(ann: Party, a: Replica, b: Replica):
    numbers: list[int] = []
    total, cuts, last = 300, 0, None

    async def speak() -> None:
        for first in range(1, total, 10):
            await ann.call((a, b)[first % 3 % 2], "tell", f"t{first}", first=first, last=first + 9)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            async with ann.listening(a) as stream:
                await stream.event()
                last = stream.last
            tasks.start_soon(speak)
            while len(numbers) < total:
                cuts += 1
                async with ann.listening((a, b)[cuts % 2], last) as stream:
                    for _ in range(min(7, total - len(numbers))):
                        numbers += numbers_of([await stream.message()])
                    last = stream.last
    assert numbers == list(range(1, total + 1))
    assert cuts > 30


async def test_a_call_that_was_cut_is_resumed_at_the_other_replica(ann: Party, a: Replica, b: Replica, tmp_path: Path):
    path = tmp_path / "x"
    async with ann.calling(b, "look", path=str(path)) as stream:
        await stream.until(lambda message: progress_of([message]) == [2])
        seen = stream.last
    async with ann.listening(a, seen) as stream:
        assert progress_of([await stream.message()]) == [3]
        path.touch()
        rest = await stream.rest()
    assert progress_of(rest) == [4]
    assert text_of(rest[-1]) == "done with x"
    assert (tmp_path / "x.runs").read_text() == "run\n"


async def test_a_call_that_ended_while_its_client_was_away_is_answered_when_it_comes_back(
    ann: Party, a: Replica, b: Replica, tmp_path: Path
):
    path = tmp_path / "x"
    async with ann.calling(a, "look", path=str(path)) as stream:
        await stream.message()
        seen = stream.last
    path.touch()
    for replica in (b, a):  # as often as it likes, while the log has it
        async with ann.listening(replica, seen) as stream:
            rest = await stream.rest()
        assert progress_of(rest) == [2, 3, 4]
        assert text_of(rest[-1]) == "done with x"


async def test_a_silent_call_can_be_resumed_as_well(ann: Party, a: Replica, b: Replica, tmp_path: Path):
    path = tmp_path / "x"
    async with ann.calling(a, "wait_silently", path=str(path)) as stream:
        primed = await stream.event()
        assert primed.data is None
    path.touch()
    async with ann.listening(b, primed.id) as stream:
        assert text_of((await stream.rest())[-1]) == "it appeared"


async def test_of_two_readers_of_a_stream_the_newer_stays(ann: Party, a: Replica, b: Replica):
    async with ann.listening(a) as older:
        await older.event()
        async with ann.listening(b, older.last) as newer:
            assert await older.rest() == []
            assert older.retry is not None
            await ann.call(a, "tell", first=1, last=1)
            assert numbers_of([await newer.message()]) == [1]


async def test_a_call_that_is_resumed_before_its_cut_was_noticed_goes_on_with_the_newer_reader_alone(
    ann: Party, a: Replica, b: Replica, tmp_path: Path
):
    async with ann.calling(a, "look", path=str(tmp_path / "x")) as older:
        await older.until(lambda message: progress_of([message]) == [3])
        async with ann.listening(b, older.seen[1].id) as newer:
            assert progress_of([await newer.message()]) == [2]
            assert await older.rest() == []
            (tmp_path / "x").touch()
            rest = await newer.rest()
    assert progress_of(rest) == [3, 4]
    assert text_of(rest[-1]) == "done with x"


async def test_a_position_whose_events_are_gone_is_refused_and_never_answered_with_an_empty_stream(
    ann: Party, a: Replica, b: Replica, store: Redis
):
    async with ann.listening(a) as stream:
        await ann.call(a, "tell", first=1, last=3)
        await stream.until(is_number(2))
        seen = stream.last
        await stream.until(is_number(3))
        newest = stream.last
    assert seen is not None
    with store.client() as keys:
        [log] = [key for key in keys.scan_iter("moorage:2:l:*") if key.startswith(f"moorage:2:l:{{{seen.split('.')[0]}")]
        keys.delete(log)
    for replica in (a, b):
        assert await ann.refused_stream(replica, seen) == POSITION_LOST
    async with ann.listening(b, newest) as stream:  # nothing is missing after this one
        await ann.call(a, "tell", first=4, last=4)
        assert numbers_of([await stream.message()]) == [4]


async def test_an_event_id_of_another_session_or_of_nothing_is_refused(ann: Party, http: httpx.AsyncClient, a: Replica, b: Replica):
    other = await Party.begin(http, a, ANN)
    async with other.listening(a) as stream:
        await other.call(a, "tell", first=1, last=1)
        await stream.until(is_number(1))
        foreign = stream.last
    async with ann.listening(a) as stream:
        await stream.event()
        mine = stream.last
    assert foreign is not None
    assert mine is not None
    mark, birth, name, offset = mine.split(".")
    wrong = [
        foreign,
        "x",
        "1",
        f"{mark}.{birth}.{name}",
        f"{mark}.0.{name}.{offset}",
        f"{mark}.{birth}.zz-1.{offset}",
        f"{mark}.{birth}.g.zzzz",
    ]
    for replica in (a, b):
        assert [await ann.refused_stream(replica, each) for each in wrong] == [POSITION_LOST] * len(wrong)


async def test_two_tenants_with_equal_ids_never_see_each_others_events(http: httpx.AsyncClient, a: Replica, b: Replica, tmp_path: Path):
    ann, bob = await Party.begin(http, a, ANN), await Party.begin(http, a, BOB)
    async with ann.calling(b, "look", 1, path=str(tmp_path / "ann")) as anns, bob.calling(b, "look", 1, path=str(tmp_path / "bob")) as bobs:
        await anns.message()
        await bobs.message()
    (tmp_path / "ann").touch()
    (tmp_path / "bob").touch()
    assert anns.last is not None
    assert bobs.last is not None
    assert await ann.refused_stream(a, bobs.last) == POSITION_LOST
    assert await bob.refused_stream(b, anns.last) == POSITION_LOST
    assert await ann.stranger(authorization=f"Bearer {BOB}").refused_stream(a, anns.last) == GONE
    async with ann.listening(a, anns.last) as stream:
        assert text_of((await stream.rest())[-1]) == "done with ann"
    async with bob.listening(a, bobs.last) as stream:
        assert text_of((await stream.rest())[-1]) == "done with bob"


# Questions, cancellations


async def test_a_question_on_a_stream_of_one_replica_is_answered_by_way_of_the_other(ann: Party, a: Replica, b: Replica):
    for asked, answered in ((a, b), (b, a)):
        async with ann.calling(asked, "ask") as stream:
            question = await stream.until(lambda message: message.get("method") == "elicitation/create")
            reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": "Argo"}}}
            assert (await ann.post(answered, reply)).status_code == 202
            assert text_of((await stream.rest())[-1]) == "Argo it is"


async def test_a_question_survives_a_cut_of_the_stream_that_carries_it(ann: Party, a: Replica, b: Replica):
    async with ann.calling(a, "ask") as stream:
        question = await stream.until(lambda message: message.get("method") == "elicitation/create")
        seen = stream.last
    reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}
    assert (await ann.post(b, reply)).status_code == 202
    async with ann.listening(b, seen) as stream:
        assert text_of((await stream.rest())[-1]) == "decline"


async def test_a_reply_to_what_nobody_asked_is_refused_in_words(ann: Party, a: Replica, b: Replica):
    for replica in (a, b):
        response = await ann.post(replica, {"jsonrpc": "2.0", "id": "never-asked-1", "result": {}})
        assert response.status_code == 400
        assert "Nobody here asked" in response.text


async def test_a_call_is_cancelled_by_way_of_the_other_replica(ann: Party, a: Replica, b: Replica, tmp_path: Path):
    path = tmp_path / "x"
    async with ann.calling(a, "look", 5, path=str(path)) as stream:
        await stream.until(lambda message: progress_of([message]) == [3])
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
        assert (await ann.post(b, cancel)).status_code == 202
        assert (await stream.rest())[-1]["error"]["code"] == -32800
    await appears(tmp_path / "x.cancelled")


# Changes are heard everywhere


async def test_a_change_that_one_replica_announces_reaches_sessions_of_the_other(
    ann: Party, http: httpx.AsyncClient, a: Replica, b: Replica
):
    assert (await ann.post(b, request("resources/subscribe", {"uri": "ship://argo"}))).status_code == 200
    publisher = await Party.begin(http, b, BOB)
    async with ann.listening(a) as stream:
        await stream.event()
        assert await publisher.call(b, "publish", uri="ship://other") == "published"
        assert await publisher.call(b, "publish", uri="ship://argo") == "published"
        message = await stream.message()
        assert (message["method"], message["params"]) == ("notifications/resources/updated", {"uri": "ship://argo"})
        assert await publisher.call(b, "publish", uri="") == "published"
        assert (await stream.message())["method"] == "notifications/tools/list_changed"


async def test_after_unsubscribing_at_any_replica_nothing_more_is_heard(ann: Party, http: httpx.AsyncClient, a: Replica, b: Replica):
    for method, replica in (("resources/subscribe", a), ("resources/unsubscribe", b)):
        assert (await ann.post(replica, request(method, {"uri": "ship://argo"}))).status_code == 200
    publisher = await Party.begin(http, b, BOB)
    async with ann.listening(b) as stream:
        await stream.event()
        await publisher.call(b, "publish", uri="ship://argo")
        await publisher.call(b, "publish", uri="")
        assert (await stream.message())["method"] == "notifications/tools/list_changed"


async def test_a_modern_listener_hears_what_the_other_replica_announces(http: httpx.AsyncClient, a: Replica, b: Replica):
    body, headers = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["ship://argo"]}})
    call, of_call = modern("tools/call", {"name": "publish", "arguments": {"uri": "ship://argo"}})
    key = {"authorization": f"Bearer {ANN}"}
    async with http.stream("POST", f"{a.url}/mcp", json=body, headers={**headers, **key}) as response:
        stream = Events(response)
        await stream.message()  # that it is subscribed
        assert (await http.post(f"{b.url}/mcp", json=call, headers={**of_call, **key})).status_code == 200
        heard = await stream.message()
        assert heard["method"] == "notifications/resources/updated"
        assert heard["params"]["uri"] == "ship://argo"


async def test_a_state_that_one_replica_sealed_opens_at_the_other_and_for_nobody_else(http: httpx.AsyncClient, a: Replica, b: Replica):
    async def confirm(replica: Replica, token: str, **more: object) -> httpx.Response:
        body, headers = modern("tools/call", {"name": "confirm", "arguments": {}, **more})
        return await http.post(f"{replica.url}/mcp", json=body, headers={**headers, "authorization": f"Bearer {token}"})

    asked = last_message(await confirm(a, ANN))["result"]
    assert asked["resultType"] == "input_required"
    more = {"requestState": asked["requestState"], "inputResponses": {"sure": {"action": "accept", "content": {"ok": True}}}}
    assert text_of(last_message(await confirm(b, ANN, **more))) == "confirmed: True"
    assert "error" in last_message(await confirm(b, BOB, **more))
    more["requestState"] = asked["requestState"][:-2] + ("AA" if asked["requestState"][-2:] != "AA" else "BB")
    assert "error" in last_message(await confirm(b, ANN, **more))


# What relaying does not change


async def test_a_hop_is_counted_and_an_own_session_needs_none(ann: Party, http: httpx.AsyncClient, a: Replica, b: Replica):
    async def hops(replica: Replica) -> float:
        return await gauge(http, replica, "moorage_relay_requests_total")

    before = await hops(a), await hops(b)
    await ann.call(a, "add", 1, a=1, b=2)
    assert (await hops(a), await hops(b)) == before
    await ann.call(b, "add", 2, a=1, b=2)
    assert (await hops(a), await hops(b)) == (before[0], before[1] + 1)


async def test_refusals_of_the_owner_come_back_as_they_are(ann: Party, a: Replica, b: Replica):
    for replica in (a, b):
        unknown = await ann.post(replica, request("no/such-method"))
        assert last_message(unknown)["error"]["code"] == -32601
        broken = await ann.http.post(f"{replica.url}/mcp", content=b"{", headers={**ann.headers, "content-type": "application/json"})
        assert error_of(broken) == (400, -32700)


async def test_a_large_answer_comes_whole_over_the_hop(ann: Party, b: Replica):
    number = 10**3000
    with anyio.fail_after(WITHIN):
        assert await ann.call(b, "add", a=number, b=1) == str(number + 1)


async def test_space_around_a_header_is_of_no_account(ann: Party, b: Replica):
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    head = {**ann.headers, "mcp-session-id": f"  {ann.id} \t", "content-type": "application/json ", "content-length": str(len(body))}
    lines = ["POST /mcp HTTP/1.1", f"host: 127.0.0.1:{b.port}", "connection: close", *(f"{name}:{value}" for name, value in head.items())]
    with anyio.fail_after(WITHIN):
        async with await anyio.connect_tcp("127.0.0.1", b.port) as stream:
            await stream.send("\r\n".join([*lines, "", ""]).encode() + body)
            answer = b""
            async for part in stream:
                answer += part
    assert answer.startswith(b"HTTP/1.1 200"), answer

"""Processes that share a key and no store: a session is answered by each of them, and what cannot be done without a store is said."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import anyio.to_thread
import httpx2 as httpx
import pytest

from tests.integration.serving import Legacy, client, request, serving
from tests.integration.sharing import ANN, BOB, GONE, KEYS, Party, calling, deployed, error_of, is_number, last_message, text_of
from tests.services import Fleet, Replica, sealing_key

pytestmark = pytest.mark.anyio
apart = anyio.to_thread.run_sync

ALONE = {"SERVER__REPLICAS": "1"}
"""What a process is told that does not know of any other."""


@pytest.fixture(scope="module")
async def fleet() -> AsyncIterator[Fleet]:
    async with deployed(store=None, **KEYS) as it:
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
    return await Party.begin(http, a, ANN)


async def detail(http: httpx.AsyncClient, replica: Replica) -> str:
    answer = await http.get(f"{replica.admin_url}/readyz?verbose")
    assert answer.status_code == 200
    return answer.text


def warnings(replica: Replica) -> list[str]:
    return [event["event"] for event in replica.events() if event["event"].startswith("replicas.")]


def listed(response: httpx.Response) -> set[str]:
    return {tool["name"] for tool in last_message(response)["result"]["tools"]}


# What works


@pytest.mark.parametrize("revision", ["2025-11-25", "2025-06-18", "2025-03-26"])
async def test_a_session_is_answered_by_every_process_that_has_the_key(http: httpx.AsyncClient, a: Replica, b: Replica, revision: str):
    party = await Party.begin(http, a, ANN, revision)
    for number, replica in enumerate((a, b, b, a)):
        assert await party.call(replica, "add", number, a=number, b=1) == str(number + 1)
    assert listed(await party.post(a, request("tools/list"))) == listed(await party.post(b, request("tools/list"))) != set()


async def test_a_question_is_answered_where_it_was_asked(ann: Party, b: Replica):
    async with ann.calling(b, "ask") as stream:
        question = await stream.until(lambda message: message.get("method") == "elicitation/create")
        reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": "Argo"}}}
        assert (await ann.post(b, reply)).status_code == 202
        assert text_of((await stream.rest())[-1]) == "Argo it is"


async def test_a_get_stream_carries_what_its_own_process_says_and_no_positions(ann: Party, b: Replica):
    async with ann.listening(b) as stream:
        assert await ann.call(b, "tell", first=1, last=2) == "told"
        await stream.until(is_number(2))
        assert [event.id for event in stream.seen] == [None, None], "an id would promise what no log keeps"


async def test_of_two_get_streams_in_one_process_the_newer_stays(ann: Party, b: Replica):
    async with ann.listening(b) as older:
        assert await ann.call(b, "tell", 1, first=1, last=1) == "told"
        await older.until(is_number(1))
        async with ann.listening(b) as newer:
            assert await older.rest() == []
            assert await ann.call(b, "tell", 2, first=2, last=2) == "told"
            await newer.until(is_number(2))


async def test_a_session_outlives_a_restart_and_the_steps_of_a_rotation_but_not_its_key(http: httpx.AsyncClient):
    async with deployed(1, store=None) as fleet:
        [replica], old, new = fleet.replicas, fleet.sealing_key, sealing_key()
        party = await Party.begin(http, replica)
        await apart(replica.restart)
        assert await party.call(replica, "add", a=1, b=2) == "3"
        replica.variables["MOORAGE_SECURITY__SEALING_KEYS"] = f"{new}\n{old}"
        await apart(replica.restart)
        assert await party.call(replica, "add", a=1, b=2) == "3"
        later = await Party.begin(http, replica)
        replica.variables["MOORAGE_SECURITY__SEALING_KEYS"] = new
        await apart(replica.restart)
        assert error_of(await party.post(replica, calling("add", a=1, b=2))) == GONE
        assert await later.call(replica, "add", a=1, b=2) == "3"


async def test_a_process_that_drains_leaves_its_sessions_to_the_other(http: httpx.AsyncClient):
    async with deployed(store=None) as fleet:
        a, b = fleet
        party = await Party.begin(http, a)
        async with party.listening(a) as stream:
            await party.call(a, "tell", first=1, last=1)
            await stream.until(is_number(1))
            a.terminate()
            assert await stream.rest() == []
            assert stream.retry is not None
        assert await apart(a.exited) == 0
        async with party.listening(b) as stream:
            assert await party.call(b, "tell", first=2, last=2) == "told"
            await stream.until(is_number(2))


# What stands for nothing


async def test_a_forged_and_a_foreign_session_are_the_same_nothing_everywhere(ann: Party, a: Replica, b: Replica):
    middle = len(ann.id) // 2
    nothing = {
        "forged": ann.stranger(**{"mcp-session-id": ann.id[:middle] + ("A" if ann.id[middle] != "A" else "B") + ann.id[middle + 1 :]}),
        "cut": ann.stranger(**{"mcp-session-id": ann.id[:-4]}),
        "foreign": ann.stranger(authorization=f"Bearer {BOB}"),
    }
    for replica in (a, b):
        answers = {name: await party.post(replica, calling("add", a=1, b=2)) for name, party in nothing.items()}
        assert {name: error_of(answer) for name, answer in answers.items()} == dict.fromkeys(nothing, GONE)
        assert len({answer.text for answer in answers.values()}) == 1
    assert await ann.call(b, "add", a=1, b=2) == "3"


# What is refused in words


async def test_a_position_is_refused_in_words(ann: Party, a: Replica, b: Replica):
    for replica in (a, b):
        for last in ("x", "aB3_-xYz.abc.g.1", "0"):
            async with ann.stream(replica, last) as response:
                await response.aread()
                assert error_of(response) == (400, -32600)
                assert "Last-Event-ID cannot be honoured" in response.text


async def test_a_reply_to_another_process_is_refused_in_words_and_does_no_harm(ann: Party, a: Replica, b: Replica):
    async with ann.calling(a, "ask") as stream:
        question = await stream.until(lambda message: message.get("method") == "elicitation/create")
        reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}
        refused = await ann.post(b, reply)
        assert error_of(refused) == (400, -32600)
        assert "Nobody here asked" in refused.text
        assert (await ann.post(a, reply)).status_code == 202
        assert text_of((await stream.rest())[-1]) == "decline"


async def test_two_processes_never_ask_under_the_same_id(ann: Party, a: Replica, b: Replica):
    async with ann.calling(a, "ask", 1) as one, ann.calling(b, "ask", 2) as other:
        questions = [await stream.until(lambda message: "method" in message and "id" in message) for stream in (one, other)]
        assert len({question["id"] for question in questions}) == 2
        for question, stream, replica, name in zip(questions, (one, other), (a, b), ("Argo", "Pinta"), strict=True):
            reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": name}}}
            assert (await ann.post(replica, reply)).status_code == 202
            assert text_of((await stream.rest())[-1]) == f"{name} it is"


# Its end


async def test_a_session_that_would_live_on_elsewhere_is_not_said_to_have_ended(ann: Party, a: Replica, b: Replica):
    for replica in (a, b):
        refused = await ann.delete(replica)
        assert error_of(refused) == (405, -32600)
        assert "DELETE" not in refused.headers["allow"]
        assert "without a store" in refused.text
    assert await ann.call(a, "add", a=1, b=2) == "3"


async def test_where_a_process_has_its_keys_for_itself_a_session_ends_at_once_and_for_ever(http: httpx.AsyncClient):
    async with serving() as server:
        session = await Legacy.begin(http, server.url)
        async with session.listen() as stream:
            assert (await http.delete(session.url, headers=session.headers)).status_code == 200
            assert [line async for line in stream.aiter_lines() if line.startswith("data")] == []
        assert (await session.post(request("ping"))).status_code == 404
        assert (await http.delete(session.url, headers=session.headers)).status_code == 404
        metrics = (await http.get(f"{server.admin}/metrics")).text
        assert re.search(r"^moorage_sessions_active\{.*\} 0(\.0)?$", metrics, re.MULTILINE)


async def test_an_end_that_the_next_process_with_the_same_keys_would_not_know_of_is_refused(http: httpx.AsyncClient):
    async with deployed(1, store=None, **ALONE) as fleet:
        [replica] = fleet.replicas
        party = await Party.begin(http, replica)
        assert error_of(await party.delete(replica)) == (405, -32600)
        await apart(replica.restart)
        assert await party.call(replica, "add", a=1, b=2) == "3", "a 200 would have been forgotten here"


# That several run without a store is said


async def test_several_replicas_without_a_store_say_so_once(ann: Party, http: httpx.AsyncClient, a: Replica, b: Replica):
    for _ in range(3):
        party = await Party.begin(http, a, ANN)
        await party.call(b, "add", a=1, b=2)
    for replica in (a, b):
        assert warnings(replica) == ["replicas.no_store"]
        assert "[!]replicas: more than one replica and no shared store" in await detail(http, replica)


async def test_a_process_that_meets_another_one_says_so_once_and_ends_no_session_for_all_any_more(http: httpx.AsyncClient):
    async with deployed(store=None, **ALONE) as fleet:
        a, b = fleet
        for replica in (a, b):
            assert warnings(replica) == []
            assert "[!]" not in await detail(http, replica)
        own = await Party.begin(http, b)
        for _ in range(3):
            party = await Party.begin(http, a)
            assert await party.call(b, "add", a=1, b=2) == "3"
        assert warnings(b) == ["replicas.no_store"]
        assert "[!]replicas: more than one replica and no shared store" in await detail(http, b)
        assert warnings(a) == [], "it has met nobody"
        assert (await own.delete(b)).status_code == 405


async def test_a_process_does_not_take_what_ran_before_it_for_another_one(http: httpx.AsyncClient):
    async with deployed(1, store=None, **ALONE) as fleet:
        [replica] = fleet.replicas
        party = await Party.begin(http, replica)
        since = len(replica.lines)
        await apart(replica.restart)
        assert await party.call(replica, "add", a=1, b=2) == "3"
        assert "replicas.no_store" not in "\n".join(replica.lines[since:])
        assert "[!]" not in await detail(http, replica)


async def test_several_workers_without_a_store_are_several_processes(http: httpx.AsyncClient):
    async with deployed(1, store=None, **ALONE, SERVER__WORKERS="2") as fleet:
        [replica] = fleet.replicas
        party = await Party.begin(http, replica)
        for number in range(10):
            async with client() as another:  # on a connection of its own, which either worker may get
                assert await Party(another, party.headers).call(replica, "add", number, a=number, b=1) == str(number + 1)
        assert (await party.delete(replica)).status_code == 405
        assert set(warnings(replica)) == {"replicas.no_store"}

"""What a process does with a session that it owns no more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moorage.store.sessions import Fenced, Held, Lease, Owned
from tests.integration.shared.conftest import Start, events, holds, lose, ping, until
from tests.services import Redis
from tests.services.processes import free_ports

pytestmark = pytest.mark.anyio


async def test_a_question_that_can_have_no_answer_here_any_more_ends(start: Start):
    old = await start()
    session = await old.begin()
    call = old.call(session, "asks")
    await until(call, lambda it: b"elicitation/create" in it.body)
    await lose(old)

    await call.finished()

    assert old.failures
    assert events(call)[-1][1]["id"] == 1


async def test_a_question_that_is_asked_when_the_session_has_moved_ends(start: Start):
    old = await start()
    session = await old.begin()
    call = old.call(session, "asks_later")
    await until(call, lambda it: b"notifications/progress" in it.body)
    await lose(old)
    old.release.set()

    await call.finished()

    assert old.failures


async def test_an_owner_that_was_succeeded_without_knowing_ends_its_streams_once_it_is_fenced(start: Start):
    old, new = await start(), await start()
    session = await old.begin()
    listening = old.listen(session)
    await until(listening, lambda it: b"id: " in it.body)
    [living] = old.service._sessions()
    assert living.lease is not None
    held = Held(old.service.replication.owner.id, living.lease.epoch, "")  # type: ignore[union-attr]
    assert isinstance(await new.service.replication.sessions.claim(living.record.tag, held), Owned)  # type: ignore[union-attr]

    await living.notify("notifications/message", None)  # nobody but the client that is still connected can hear of it

    await holds(lambda: listening.complete)
    assert b"retry: " in listening.body
    assert old.service.open_sessions == 0


async def test_an_owner_that_lives_and_was_succeeded_hears_of_it_before_it_writes(start: Start, redis: Redis):
    old, new = await start(), await start()
    session = await old.begin()
    listening = old.listen(session)
    await until(listening, lambda it: b"id: " in it.body)
    [living] = old.service._sessions()
    known: Any = old.service.replication
    with redis.client() as client:  # an address at which nobody listens, though the owner lives
        [key] = client.scan_iter(f"*:s:{{{living.record.tag}}}")
        client.hset(key, "entry", known.seals.entry(known.owner.id, f"127.0.0.1:{free_ports(1)[0]}"))

    assert await ping(new, session) == 200

    await holds(lambda: listening.complete)
    assert b"retry: " in listening.body
    assert (old.service.open_sessions, new.service.open_sessions) == (0, 1)


@pytest.mark.parametrize("comes_back", [False, True])
async def test_a_stream_whose_session_is_given_up_while_it_opens_opens_where_the_session_is_then(
    start: Start, comes_back: bool, monkeypatch: pytest.MonkeyPatch
):
    replica = await start()
    session = await replica.begin()
    first = replica.listen(session)
    await until(first, lambda it: b"id: " in it.body)
    [living] = replica.service._sessions()
    lease: Any = living.lease
    name = "read" if comes_back else "append"
    original = getattr(Lease, name)

    async def and_lose(self: Lease, *arguments: Any) -> Any:
        answer = await original(self, *arguments)
        if self is lease:
            living.let_go()
        return answer

    monkeypatch.setattr(Lease, name, and_lose)
    second = replica.listen(session, events(first)[0][0] if comes_back else "")
    await until(second, lambda it: b"id: " in it.body)

    [again] = replica.service._sessions()
    assert (second.status, again.id, again is living) == (200, session, False)
    await again.notify("notifications/message", {"level": "info", "data": "heard"})
    await until(second, lambda it: b"heard" in it.body)


@pytest.mark.parametrize("what", ["GET", "GET with a position", "DELETE"])
async def test_what_is_asked_of_an_owner_that_was_succeeded_without_knowing_is_served_by_its_successor(start: Start, what: str):
    old, new = await start(), await start()
    session = await old.begin()
    listening = old.listen(session)
    await until(listening, lambda it: b"id: " in it.body)
    [living] = old.service._sessions()
    assert living.lease is not None
    held = Held(old.service.replication.owner.id, living.lease.epoch, "")  # type: ignore[union-attr]
    assert isinstance(await new.service.replication.sessions.claim(living.record.tag, held), Owned)  # type: ignore[union-attr]

    if what == "DELETE":
        asked = old.open("DELETE", {"mcp-session-id": session})
        await asked.finished()
        assert await ping(new, session) == 404
    else:
        asked = old.listen(session, events(listening)[0][0] if "position" in what else "")
        await until(asked, lambda it: b"id: " in it.body)

    assert asked.status == 200
    assert old.service.open_sessions == 0


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_session_that_moves_whenever_it_was_found_is_refused_after_a_few_tries(
    start: Start, method: str, monkeypatch: pytest.MonkeyPatch
):
    replica = await start()
    session = await replica.begin()
    tries = 0

    async def moved(self: Lease, *_: Any) -> Any:
        nonlocal tries
        tries += 1
        raise Fenced

    for name in ("append", "finish"):
        monkeypatch.setattr(Lease, name, moved)
    asked = replica.open(method, {"mcp-session-id": session})
    await asked.finished()

    assert (asked.status, json.loads(asked.body)["error"]["data"]["reason"], tries) == (503, "session_moved", 4)

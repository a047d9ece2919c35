"""What a process does with a session that it owns no more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moorage.store.sessions import Held, Lease, Owned
from tests.comparison.wire import Exchange
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
async def test_a_stream_whose_session_is_given_up_while_it_opens_is_refused_and_not_deaf(
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
    await second.finished()

    assert (second.status, error_reason(second)) == (503, "session_moved")
    third = replica.listen(session)
    await until(third, lambda it: b"id: " in it.body)
    assert third.status == 200


def error_reason(exchange: Exchange) -> str:
    return json.loads(exchange.body)["error"]["data"]["reason"]

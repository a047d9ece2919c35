"""When a session ends, and when it does not."""

from math import inf
from typing import Any

import pytest

from moorage.store.outage import StoreUnavailable
from tests.integration.shared.conftest import Start, events, until

pytestmark = pytest.mark.anyio


async def test_a_session_whose_call_was_resumed_is_in_use(start: Start):
    replica = await start()
    session = await replica.begin()
    call = replica.call(session, "once")
    await until(call, lambda it: b"notifications/progress" in it.body)
    call.leave()
    resumed = replica.listen(session, events(call)[-1][0])
    await resumed.started()
    [living] = replica.service._sessions()
    [running] = living.calls.values()
    running.client_left()

    living.last_used = -inf
    await replica.service._the_legacy.home.tend()
    replica.release.set()

    await until(resumed, lambda it: b'"result"' in it.body or b'"error"' in it.body)
    assert events(resumed)[-1][1]["result"]["content"][0]["text"] == "done"


async def test_a_session_is_ended_even_if_it_cannot_be_counted_out(start: Start):
    replica = await start()
    session = await replica.begin()
    call = replica.call(session, "once")
    await until(call, lambda it: b"notifications/progress" in it.body)
    store: Any = replica.service.replication.store  # type: ignore[union-attr]

    async def out(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("not now")

    command, store.command = store.command, out
    ending = replica.open("DELETE", {"mcp-session-id": session})
    await ending.finished()
    store.command = command

    assert ending.status == 200
    await call.finished()
    assert events(call)[-1][1]["error"]["message"] == "The session has ended"


async def test_whether_an_owner_lives_is_asked_once_for_all_who_wait_for_it(start: Start):
    owner, waiting = await start(), await start()
    replication: Any = waiting.service.replication
    asked: list[str] = []
    is_alive = replication.owner.is_alive

    async def count(name: str) -> bool:
        asked.append(name)
        return await is_alive(name)

    replication.owner.is_alive = count
    for _ in range(5):
        assert await replication._believes(owner.service.replication.owner.id)  # type: ignore[union-attr]
        assert not await replication._believes("nobody")

    assert asked.count("nobody") == 5
    assert len(asked) == 6


@pytest.mark.parametrize(("revision", "ending"), [("2025-06-18", b'"error"'), ("2025-11-25", b"retry: ")])
async def test_a_call_that_a_drain_cuts_short_is_answered_if_its_client_has_no_position_to_resume_from(
    start: Start, revision: str, ending: bytes
):
    replica = await start()
    session = await replica.begin(revision)
    call = replica.call(session, "silent")
    await call.started()  # it was silent for long enough to have a stream, and no message stands in it
    if revision == "2025-11-25":
        await until(call, lambda it: b"id: " in it.body)

    await replica.service.cancel_calls()
    await call.finished()

    assert ending in call.body

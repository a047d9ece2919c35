"""What becomes of a session's calls when another replica takes it over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moorage.protocol.feed import OUTCOME_UNKNOWN
from moorage.store.outage import StoreUnavailable
from tests.integration.shared.conftest import Replica, Start, events, lose, ping, until

pytestmark = pytest.mark.anyio


async def _streaming(replica: Replica, session: str, tool: str, request_id: Any = 1) -> str:
    """Begin a call, wait for its first event and cut it; returns the position of its client."""
    call = replica.call(session, tool, request_id)
    await until(call, lambda it: b"notifications/progress" in it.body)
    call.leave()
    return events(call)[-1][0]


async def test_a_call_that_comes_again_under_the_id_of_an_orphan_that_runs_again_harms_nobody(start: Start):
    old, new = await start(), await start()
    session = await old.begin()
    position = await _streaming(old, session, "again")
    await lose(old)
    new.release.set()

    twins = [new.call(session, "again") for _ in range(3)]
    for twin in twins:
        await twin.finished()
    resumed = new.listen(session, position)
    await until(resumed, lambda it: b'"result"' in it.body or b'"error"' in it.body)

    assert {twin.status for twin in twins} <= {200, 400}
    assert (await ping(new, session)) == 200
    old.release.set()


@pytest.mark.parametrize("becomes", ["unannotated", "gone"])
async def test_an_orphan_whose_tool_may_not_run_twice_any_more_does_not_run_again(start: Start, becomes: str):
    old, new = await start(), await start()
    session = await old.begin()
    position = await _streaming(old, session, "again")
    new.server.remove_tool("again")
    if becomes == "unannotated":

        @new.server.tool(name="again")
        def _() -> None:
            new.runs["again"] += 1

    await lose(old)
    assert (await ping(new, session)) == 200

    resumed = new.listen(session, position)
    await until(resumed, lambda it: b'"error"' in it.body or b'"result"' in it.body)
    assert events(resumed)[-1][1]["error"]["code"] == OUTCOME_UNKNOWN
    assert new.runs["again"] == 0
    old.release.set()


async def test_an_orphan_is_settled_even_if_the_store_does_not_answer_at_once(start: Start):
    old, new = await start(), await start()
    session = await old.begin()
    position = await _streaming(old, session, "again")
    await lose(old)
    new.release.set()
    store: Any = new.service.replication.store  # type: ignore[union-attr]
    run, refused = store.run, asyncio.Event()

    async def once_out(name: str, *arguments: Any) -> Any:
        if name == "read" and not refused.is_set():
            refused.set()
            raise StoreUnavailable("not now")
        return await run(name, *arguments)

    store.run = once_out
    assert (await ping(new, session)) == 200
    await asyncio.wait_for(refused.wait(), 10)

    resumed = new.listen(session, position)
    await until(resumed, lambda it: b'"result"' in it.body)
    old.release.set()

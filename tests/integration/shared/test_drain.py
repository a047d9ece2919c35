"""A process that ends while the others go on: what it owns, and what it leaves alone."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.integration.shared.conftest import Replica, Start, events, until

pytestmark = pytest.mark.anyio


async def begin_drain(replica: Replica) -> None:
    replica.service.refuse_sessions()
    await replica.service.end_streams()


async def test_while_its_calls_go_on_the_streams_of_a_session_stay_with_the_process_that_drains(start: Start):
    owner, other = await start(), await start()
    session = await owner.begin()
    call = owner.call(session, "once", 7)
    listening = other.listen(session)
    await until(listening, lambda it: b"id: " in it.body)
    await asyncio.wait_for(owner.arrived.wait(), 10)

    await begin_drain(owner)
    await listening.finished()
    again = other.listen(session, events(listening)[0][0])
    [living] = owner.service._sessions()
    await living.notify("notifications/told", None)
    await until(again, lambda it: b"told" in it.body)

    assert again.status == 200
    owner.release.set()
    await call.finished()


async def test_a_process_that_drains_claims_nothing_that_it_has_handed_over(start: Start):
    owner, other = await start(), await start()
    session = await owner.begin()
    await other.post(session, id=1, method="ping").finished()  # from here on the other one knows whom to ask

    await begin_drain(owner)
    other.release.set()
    call = other.call(session, "once", 2)
    await call.finished()

    assert (call.status, owner.runs["once"], other.runs["once"]) == (200, 0, 1)
    refused = owner.listen(session)
    await refused.finished()
    assert refused.status == 503


async def test_what_comes_in_the_last_moment_is_refused_and_not_begun(start: Start):
    owner = await start()
    session = await owner.begin()
    call = owner.call(session, "once", 7)
    await asyncio.wait_for(owner.arrived.wait(), 10)

    await begin_drain(owner)
    last = asyncio.create_task(owner.service.finish_last_calls())
    await asyncio.sleep(0)
    late = owner.call(session, "again", 8)
    await late.finished()
    owner.release.set()
    await asyncio.wait_for(last, 10)
    await call.finished()

    assert call.status == 200
    assert owner.runs["again"] == 0
    assert json.loads(late.body)["error"]["data"] == {"reason": "draining", "retryAfterSeconds": 1}

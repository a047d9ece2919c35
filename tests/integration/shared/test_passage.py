"""Exchanges that pass through a replica to the session's owner, when that replica ends."""

import asyncio

import pytest

from tests.integration.shared.conftest import Start, events, holds, until

pytestmark = pytest.mark.anyio


async def test_a_stream_that_passes_through_a_replica_that_drains_ends_with_a_hint_and_goes_on_elsewhere(start: Start):
    owner, passer, other = await start(), await start(), await start()
    session = await owner.begin()
    listening = passer.listen(session)
    await until(listening, lambda it: b"id: " in it.body)

    passer.service.refuse_sessions()
    await passer.service.end_streams()
    await listening.finished()

    assert listening.complete
    assert listening.body.endswith(b"retry: 1000\r\n\r\n")
    await holds(lambda: passer.service.open_streams == 0)
    [living] = owner.service._sessions()
    await living.notify("notifications/message", None)
    resumed = other.listen(session, events(listening)[0][0])
    await until(resumed, lambda it: b"notifications/message" in it.body)


async def test_a_drain_waits_for_a_call_that_another_replica_runs(start: Start):
    owner, passer = await start(), await start()
    session = await owner.begin()
    call = passer.call(session, "once")
    await until(call, lambda it: b"notifications/progress" in it.body)

    assert passer.service.budgets.calls == 1
    finishing = asyncio.create_task(passer.service.finish_calls())
    await passer.service.end_streams()
    assert not finishing.done()
    owner.release.set()
    await call.finished()
    await asyncio.wait_for(finishing, 10)

    assert events(call)[-1][1]["result"]["content"][0]["text"] == "done"
    assert passer.service.budgets.calls == 0


async def test_a_call_that_outlasts_the_drain_of_the_replica_it_passes_through_is_resumed_at_another(start: Start):
    owner, passer, other = await start(), await start(), await start()
    session = await owner.begin()
    call = passer.call(session, "once")
    await until(call, lambda it: b"notifications/progress" in it.body)

    await asyncio.wait_for(passer.service.cancel_calls(), 10)
    await call.finished()
    resumed = other.listen(session, events(call)[-1][0])
    await resumed.started()
    owner.release.set()

    assert call.body.endswith(b"retry: 1000\r\n\r\n")
    await until(resumed, lambda it: b'"result"' in it.body)

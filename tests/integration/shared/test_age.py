"""A stream that has grown old ends so that load can move, and its session with it."""

import pytest

from tests.integration.shared.conftest import Start, events, holds, until

pytestmark = pytest.mark.anyio


async def test_the_session_of_a_stream_that_ended_for_its_age_belongs_to_whom_its_client_reaches_next(start: Start):
    old, new = await start(sessions={"stream_max_age_seconds": 0.2}), await start()
    session = await old.begin()
    listening = old.listen(session)
    await listening.finished()
    assert listening.body.endswith(b"retry: 1000\r\n\r\n")
    await holds(lambda: old.service.open_sessions == 0, seconds=2)

    resumed = new.listen(session, events(listening)[0][0])
    await until(resumed, lambda it: it.status == 200 and it.body)

    assert new.service.open_sessions == 1
    assert old.service.open_sessions == 0


async def test_the_stream_of_a_call_does_not_age_for_a_client_that_may_not_be_able_to_resume_it(start: Start):
    replica = await start(sessions={"stream_max_age_seconds": 0.1})
    older, newer = await replica.begin("2025-06-18"), await replica.begin()
    waiting = replica.call(older, "silent")
    await waiting.started()
    aged = replica.call(newer, "silent")
    await until(aged, lambda it: b"retry: " in it.body)

    replica.release.set()
    await waiting.finished()

    assert events(waiting)[-1][1]["result"]["content"][0]["text"] == "done"

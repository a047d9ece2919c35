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

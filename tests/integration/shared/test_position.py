"""A client always has the position from which it can come back, even one that forgets with which position it came."""

from __future__ import annotations

import pytest

from tests.integration.shared.conftest import Start, events, until

pytestmark = pytest.mark.anyio


async def test_a_resumed_call_with_nothing_new_gives_its_position_again(start: Start):
    replica = await start()
    session = await replica.begin()
    call = replica.call(session, "once")
    await until(call, lambda it: b"progress" in it.body)
    position = events(call)[-1][0]

    resumed = replica.listen(session, position)
    await until(resumed, lambda it: b"id: " in it.body)

    assert events(resumed) == [(position, None)]
    replica.release.set()
    await resumed.finished()
    assert events(resumed)[-1][1]["result"]["content"][0]["text"] == "done"


async def test_a_resumed_get_stream_with_nothing_new_gives_its_position_again(start: Start):
    replica = await start()
    session = await replica.begin()
    listening = replica.listen(session)
    await until(listening, lambda it: b"id: " in it.body)
    [(position, _)] = events(listening)

    resumed = replica.listen(session, position)
    await until(resumed, lambda it: b"id: " in it.body)

    assert events(resumed) == [(position, None)]


async def test_clients_of_an_older_revision_are_given_no_event_that_they_cannot_read(start: Start):
    replica = await start()
    session = await replica.begin("2025-06-18")
    call = replica.call(session, "once")
    await until(call, lambda it: b"progress" in it.body)

    resumed = replica.listen(session, events(call)[-1][0])
    replica.release.set()
    await resumed.finished()

    assert [message is None for _, message in events(resumed)] == [False]

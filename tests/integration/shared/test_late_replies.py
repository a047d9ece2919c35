"""A reply that comes when nobody waits for it any more is taken; one to what nobody asked is refused."""

from __future__ import annotations

import pytest

from tests.integration.shared.conftest import Start, events, until

pytestmark = pytest.mark.anyio


async def test_a_reply_to_what_an_earlier_owner_asked_is_taken_and_one_to_what_nobody_asked_is_refused(start: Start):
    first, second = await start(), await start()
    session = await first.begin()
    call = first.call(session, "asks")
    await until(call, lambda it: b"elicitation/create" in it.body)
    question = events(call)[-1][1]["id"]
    answer = {"action": "accept", "content": {"name": "Vasa"}}
    await first.post(session, id=question, result=answer).finished()
    await call.finished()
    await first.service.end_streams()  # the session is whoever's is asked next

    late = second.post(session, id=question, result=answer)
    await late.finished()
    owned_by_second = second.service.open_sessions
    stranger = second.post(session, id=f"{question}0", result=answer)
    await stranger.finished()
    other = second.post(session, id="zzzzzzzzzzzz-1", result=answer)
    await other.finished()

    assert (owned_by_second, late.status) == (1, 202)
    assert (stranger.status, other.status) == (202, 400)  # how many an earlier owner asked is not known; none comes from the future

"""Questions that outlive their call end, and replies that nobody waits for are taken; one to what nobody asked is refused."""

from __future__ import annotations

import asyncio

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


async def test_a_question_whose_call_has_its_answer_ends_after_the_gap_and_its_session_is_idle(start: Start):
    replica = await start()
    session = await replica.begin()
    call = replica.call(session, "leaves_asking")
    await call.finished()
    [living] = replica.service._sessions()
    now = asyncio.get_running_loop().time()
    living.end_unheard_questions(now)
    living.end_unheard_questions(now + 59)
    assert (replica.service.budgets.questions.total, living.idle) == (1, False)
    living.end_unheard_questions(now + 61)
    assert replica.left_behind is not None
    await asyncio.wait_for(replica.left_behind, 10)
    assert "No stream of the client could carry the question for 60 seconds" in replica.failures[0]
    assert (replica.service.budgets.questions.total, living.idle) == (0, True)

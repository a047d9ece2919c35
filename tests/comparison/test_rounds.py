"""Several exchanges that belong together: a question to the user and its answer, each application with its own sealed state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from .answer import Answer, disagreements
from .case import call, case
from .stage import Side, Stage

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]

Script = Callable[[Side], Awaitable[list[Answer]]]


async def _say(side: Side, body: Any) -> Answer:
    return await side.play(case("", body).request)


async def _asked(side: Side) -> tuple[Answer, str, str]:
    first = await _say(side, call("greet", greeting="hi"))
    result = first.messages[0]["result"]
    assert result["requestState"].startswith("v1."), "the state is readable"
    return first, next(iter(result["inputRequests"])), result["requestState"]


def _again(key: str, answer: Any, state: str, tool: str = "greet", **arguments: Any) -> Any:
    return call(tool, _params={"inputResponses": {key: answer}, "requestState": state}, **(arguments or {"greeting": "hi"}))


ACCEPT = {"action": "accept", "content": {"name": "Bo"}}


async def accepts(side: Side) -> list[Answer]:
    first, key, state = await _asked(side)
    second = await _say(side, _again(key, ACCEPT, state))
    assert second.messages[0]["result"]["structuredContent"] == {"result": "hi Bo"}
    return [first, second]


async def accepts_twice(side: Side) -> list[Answer]:
    _, key, state = await _asked(side)
    return [await _say(side, _again(key, ACCEPT, state)) for _ in range(2)]


async def declines(side: Side) -> list[Answer]:
    _, key, state = await _asked(side)
    return [await _say(side, _again(key, {"action": "decline"}, state))]


async def cancels(side: Side) -> list[Answer]:
    _, key, state = await _asked(side)
    return [await _say(side, _again(key, {"action": "cancel"}, state))]


async def answers_with_the_wrong_content(side: Side) -> list[Answer]:
    _, key, state = await _asked(side)
    return [await _say(side, _again(key, {"action": "accept", "content": {"name": 5}}, state))]


async def answers_with_no_shape(side: Side) -> list[Answer]:
    _, key, state = await _asked(side)
    return [await _say(side, _again(key, answer, state)) for answer in (5, {}, {"action": "maybe"}, None)]


async def answers_another_question(side: Side) -> list[Answer]:
    _, _, state = await _asked(side)
    return [await _say(side, _again("another", ACCEPT, state))]


async def answers_without_the_state(side: Side) -> list[Answer]:
    _, key, _ = await _asked(side)
    return [await _say(side, call("greet", greeting="hi", _params={"inputResponses": {key: ACCEPT}}))]


async def changes_the_arguments(side: Side) -> list[Answer]:
    _, key, state = await _asked(side)
    return [await _say(side, _again(key, ACCEPT, state, greeting="bye"))]


async def takes_the_state_to_another_tool(side: Side) -> list[Answer]:
    _, key, state = await _asked(side)
    return [await _say(side, _again(key, ACCEPT, state, "add", a=1, b=2))]


async def tampers_with_the_state(side: Side) -> list[Answer]:
    _, key, state = await _asked(side)
    return [await _say(side, _again(key, ACCEPT, state[:-2] + ("A" if state[-2] != "A" else "B") + state[-1]))]


async def answers_twice_at_once(side: Side) -> list[Answer]:
    _, key, state = await _asked(side)
    return [await _say(side, call("greet", greeting="hi", _params={"inputResponses": {key: ACCEPT, "x": ACCEPT}, "requestState": state}))]


SCRIPTS: tuple[Script, ...] = (
    accepts, accepts_twice, declines, cancels, answers_with_the_wrong_content, answers_with_no_shape, answers_another_question,
    answers_without_the_state, changes_the_arguments, takes_the_state_to_another_tool, tampers_with_the_state, answers_twice_at_once,
)  # fmt: skip


@pytest.mark.parametrize("server", ["everyday", "guarded"])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
async def test_a_question_goes_on_as_with_the_sdk_when_the_user(stage: Stage, script: Script, server: str) -> None:
    theirs, ours = await script(stage.sdk[server]), await script(stage.ours[server])
    lines = [line for pair in zip(theirs, ours, strict=True) for line in disagreements(*pair)]
    assert not lines, "\n".join(lines)


async def test_a_state_sealed_by_another_process_is_refused(stage: Stage) -> None:
    _, key, state = await _asked(stage.sdk["everyday"])
    answer = await _say(stage.ours["everyday"], _again(key, ACCEPT, state))
    assert (answer.status, answer.messages[0]["error"]["code"]) == (400, -32602)

"""The modern era, exchange by exchange."""

from __future__ import annotations

import collections

import pytest

from .answer import Answer, disagreements
from .case import Case
from .cases import CASES
from .differences import DIFFERENCES, Difference
from .stage import Stage

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]


def _name(case: Case) -> str:
    return case.id


def _is(answer: Answer, wanted: Difference) -> list[str]:
    error = answer.messages[0].get("error", {}) if answer.messages else {}
    found = Difference(wanted.reason, answer.status, error.get("code"), error.get("message"))
    return [] if found == wanted else [f"expected {wanted}", f"found    {found}"]


@pytest.mark.parametrize("case", CASES, ids=_name)
async def test_the_endpoint_answers_as_the_sdk_does(stage: Stage, case: Case) -> None:
    theirs, ours = await stage.play(case)
    lines = disagreements(theirs, ours)
    if case.id in DIFFERENCES:
        assert lines, "this difference is gone: take it off the list"
        lines = _is(ours, DIFFERENCES[case.id])
    assert not lines, "\n".join(lines)


def test_there_are_at_least_150_exchanges_and_each_has_a_name_of_its_own() -> None:
    names = collections.Counter(case.id for case in CASES)
    assert len(names) >= 150
    assert [name for name, count in names.items() if count > 1] == []


def test_the_list_of_differences_is_short_and_names_exchanges_that_exist() -> None:
    assert set(DIFFERENCES) <= {case.id for case in CASES}
    assert len(DIFFERENCES) * 5 < len(CASES)

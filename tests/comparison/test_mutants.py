"""The comparison is worth what it notices: an application broken on purpose must not pass."""

from __future__ import annotations

import pytest

from .answer import disagreements
from .cases import CASES
from .mutants import MUTANTS, Mutant
from .servers import Built
from .stage import by_the_sdk, open_stage
from .wire import App

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]


def _name(mutant: Mutant) -> str:
    return mutant.name


@pytest.mark.parametrize("mutant", MUTANTS, ids=_name)
async def test_the_comparison_notices_an_application_that(mutant: Mutant) -> None:
    def broken(built: Built, json_response: bool) -> App:
        mutant.server(built)
        return mutant.app(by_the_sdk(built, json_response))

    async with open_stage(json_response=False, ours=broken) as stage:
        noticed = [case.id for case in CASES if disagreements(*await stage.play(case))]
    assert mutant.noticed_by in noticed
    assert "a plain function answers" not in noticed, "the mutant is so broken that it proves nothing"


async def test_the_sdk_agrees_with_itself() -> None:
    async with open_stage(json_response=False, ours=by_the_sdk) as stage:
        assert [case.id for case in CASES if disagreements(*await stage.play(case))] == []

"""The comparison is worth what it notices: an application broken on purpose must not pass."""

from __future__ import annotations

import pytest

from .answer import disagreements
from .cases import CASES
from .legacy import SCRIPTS
from .legacy.client import Client
from .mutants import MUTANTS, Mutant
from .servers import Built
from .stage import Factory, by_the_sdk, open_stage
from .wire import App

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]


def _name(mutant: Mutant) -> str:
    return mutant.name


def _broken(mutant: Mutant) -> Factory:
    def make(built: Built, json_response: bool) -> App:
        mutant.server(built)
        return mutant.app(by_the_sdk(built, json_response))

    return make


@pytest.mark.parametrize("mutant", MUTANTS, ids=_name)
async def test_the_comparison_notices_an_application_that(mutant: Mutant) -> None:
    async with open_stage(json_response=False, ours=_broken(mutant)) as stage:
        noticed = [case.id for case in CASES if disagreements(*await stage.play(case))]
    assert mutant.noticed_by in noticed
    assert "a plain function answers" not in noticed, "the mutant is so broken that it proves nothing"


async def test_the_sdk_agrees_with_itself() -> None:
    async with open_stage(json_response=False, ours=by_the_sdk) as stage:
        played = {case.id: await stage.play(case) for case in CASES}
    assert [name for name, (one, other) in played.items() if one != other] == []


@pytest.mark.parametrize(
    ("mutant", "script"),
    [
        ("sends the result only", "progress"),
        ("forgets a status", "a client calls in an unknown session"),
        ("serves another list of tools", "the tools are listed"),
    ],
)
@pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")
async def test_the_comparison_of_sessions_notices_an_application_that(mutant: str, script: str) -> None:
    [mistake] = [each for each in MUTANTS if each.name == mutant]
    [played] = [each for each in SCRIPTS if each.id == script]
    async with open_stage(json_response=False, ours=_broken(mistake)) as stage:
        transcripts: list[list[str]] = []
        for sides in (stage.sdk, stage.ours):
            client = Client(sides["everyday"].app, sides["everyday"].notes, "2025-11-25")
            await played.play(client)
            transcripts.append(client.transcript)
    assert transcripts[0] != transcripts[1]

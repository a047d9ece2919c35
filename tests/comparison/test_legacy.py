"""The session era, script by script."""

from __future__ import annotations

import collections

import pytest

from .differences import LEGACY_DIFFERENCES, as_moorage_has_it, without_reasons
from .legacy import SCRIPTS
from .legacy.client import EVERY_ERA, Client, Script
from .stage import Side, Stage

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),  # the SDK leaves some behind when a session ends
]

PLAYED = [pytest.param(script, era, id=f"{script.id} ({era})") for script in SCRIPTS for era in script.eras]


async def transcript(side: Side, script: Script, era: str) -> list[str]:
    client = Client(side.app, side.notes, era)
    await script.play(client)
    return client.transcript


@pytest.mark.parametrize(("script", "era"), PLAYED)
async def test_a_session_goes_as_with_the_sdk(stage: Stage, script: Script, era: str) -> None:
    if stage.json_response and script.streams:
        return  # the SDK sends nothing but results in this mode: such a conversation would wait for ever
    theirs, ours = [await transcript(side[script.server], script, era) for side in (stage.sdk, stage.ours)]
    difference = LEGACY_DIFFERENCES.get(script.id)
    if difference is None:
        assert [without_reasons(line) for line in ours] == [as_moorage_has_it(line) for line in theirs]
    else:
        assert ours != theirs, "this difference is gone: take it off the list"
        assert ours == list(difference.transcript)


def test_every_script_has_a_name_of_its_own_and_the_differences_name_some() -> None:
    assert [name for name, count in collections.Counter(script.id for script in SCRIPTS).items() if count > 1] == []
    assert set(LEGACY_DIFFERENCES) <= {script.id for script in SCRIPTS}
    assert all(set(script.eras) <= set(EVERY_ERA) for script in SCRIPTS)

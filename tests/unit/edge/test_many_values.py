"""What a server sends with more values than are written is that call's error, wherever they stand; with fewer it goes out whole."""

from __future__ import annotations

import pytest

from moorage.protocol.encoding import MAX_WRITTEN_VALUES
from tests.unit.edge.test_exits import ask, serving
from tests.unit.edge.test_surrogates import ERAS, OF_TEXT, OUTPUTS, Said, found, messages, request, server

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]

NAMED = "Cannot be written as JSON: more than 250000 values"
AT_CONVERSION = "The result has too many values"
"""A server that is no low-level one refuses a tool's result before the SDK converts it."""


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("output", OUTPUTS)
async def test_too_many_values_are_that_calls_error(era: str, output: str) -> None:
    said = Said()
    async with serving(server=server(said)) as harbour:
        said.value = {"values": [0] * MAX_WRITTEN_VALUES}
        said.text = ",[" * MAX_WRITTEN_VALUES
        [*before, answer] = messages(await ask(harbour, era, *request(output)))
        there = found(output, [*before, answer])
        if output in OF_TEXT:
            assert there == said.text
        else:
            assert NAMED in there or AT_CONVERSION in there
            assert [each["method"] for each in before] == ["notifications/progress"] * output.endswith("data_behind")


@pytest.mark.parametrize("era", ERAS)
async def test_a_notice_of_as_many_values_as_are_written_goes_out_whole(era: str) -> None:
    said = Said()
    async with serving(server=server(said)) as harbour:
        said.value = {"values": [0] * (MAX_WRITTEN_VALUES - 100)}
        assert found("logged", messages(await ask(harbour, era, *request("logged")))) == said.value

"""A call whose arguments were rejected leaves nothing in the process, however its validator said so."""

from __future__ import annotations

import gc

import pytest

from moorage.protocol.exchange import HttpExchange
from tests.unit.edge.test_exits import ask, serving
from tests.unit.edge.test_rejected_arguments import SAID, WAYS, server
from tests.unit.edge.test_sessions import alive

pytestmark = pytest.mark.anyio


async def ask_for_all(era: str, tool: str) -> list[int | None]:
    async with serving(server=server()) as harbour:
        return [(await ask(harbour, era, "tools/call", {"name": tool, "arguments": arguments})).status for arguments, _ in SAID]


@pytest.mark.parametrize(("era", "tool"), WAYS)
async def test_what_was_rejected_is_gone_when_garbage_is_collected(era: str, tool: str) -> None:
    gc.collect()
    before = alive(HttpExchange)
    assert await ask_for_all(era, tool) == [200] * len(SAID)
    gc.collect()
    assert alive(HttpExchange) == before

"""One stage for each response mode, shared by a module's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .stage import Stage, open_stage

MODES = {"event streams": False, "JSON only": True}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The only event loop that the product runs on."""
    return "asyncio"


@pytest.fixture(scope="module", params=list(MODES))
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Both applications, in both response modes."""
    async with open_stage(MODES[request.param]) as opened:
        yield opened


@pytest.fixture(scope="module")
async def streaming_stage() -> AsyncIterator[Stage]:
    """Both applications, able to stream."""
    async with open_stage(False) as opened:
        yield opened

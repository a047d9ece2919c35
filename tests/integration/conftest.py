"""Fixtures that start the shipped entry points."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.serving import Process, serving


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server() -> AsyncIterator[Process]:
    """`moorage serve` on the slow tools."""
    async with serving() as it:
        yield it

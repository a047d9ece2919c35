"""Fixtures that start the shipped entry points."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.serving import Process, serving


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Process]:
    """`moorage serve` on the slow tools, one for all tests of a module."""
    async with serving() as it:
        yield it

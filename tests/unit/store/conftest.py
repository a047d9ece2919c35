"""One real Redis or Valkey for each process that runs tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services import Redis
from tests.unit.store.access import Place
from tests.unit.store.members import join, prefix

__all__ = ["join", "prefix"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def place(redis_server: Redis) -> Iterator[Place]:
    it = Place(redis_server.url, lambda: [redis_server.client()], port=redis_server.port)
    yield it
    it.close()

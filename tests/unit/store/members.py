"""The fixture that makes members of a deployment; the folder that uses it says in `place` which store they share."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.unit.store.access import Member, Place

Join = Callable[..., Awaitable[Member]]


@pytest.fixture
def prefix() -> str:
    """Keys of one test."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
async def join(place: Place, prefix: str) -> AsyncIterator[Join]:
    """Makes a replica that the store knows, under an address of its own."""
    members: list[Member] = []

    async def make(**options: object) -> Member:
        member = Member.of(place, prefix, **options)  # type: ignore[arg-type]
        members.append(member)
        assert await member.owner.begin(f"127.0.0.1:{len(members)}")
        return member

    yield make
    for member in members:
        member.store.available = True
        await member.owner.resign()
        await member.store.close()

"""What a failed way to an owner proves."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from moorage.security.keyring import SealingKeys
from moorage.security.principal import ANONYMOUS
from moorage.sessions.hop import PURPOSE, Hops
from moorage.sessions.relay import OwnerGone, OwnerSilent, Relay
from tests.services import free_ports

pytestmark = pytest.mark.anyio


async def _ask(address: str) -> None:
    relay = Relay(Hops(SealingKeys.ephemeral().sealer(PURPOSE), lambda: 0.0), connect_seconds=5, silence_seconds=5)
    try:
        async with relay.ask("owner", address, "POST", [], b"{}", ANONYMOUS, None):
            raise AssertionError("nobody is there")
    finally:
        await relay.close()


@contextmanager
def _no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_an_owner_whose_door_is_closed_is_gone(anyio_backend: Any):
    [port] = free_ports(1)
    with pytest.raises(OwnerGone):
        await _ask(f"127.0.0.1:{port}")
    with pytest.raises(OwnerGone):
        await _ask(f"[::1]:{port}")


async def test_an_address_that_this_process_cannot_try_proves_nothing(anyio_backend: Any):
    [port] = free_ports(1)
    with pytest.raises(OwnerSilent):
        await _ask(f"no-such-host.invalid:{port}")
    with _no_descriptor_left(), pytest.raises(OwnerSilent):
        await _ask(f"127.0.0.1:{port}")

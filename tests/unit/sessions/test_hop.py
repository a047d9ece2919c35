"""What a replica shows at another's door serves for one owner, one request and half a minute, and only within one ring of keys."""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass, field

import pytest

from moorage.security.keyring import SealingKeys
from moorage.security.principal import ANONYMOUS, Principal
from moorage.sessions.hop import MAX_AGE_SECONDS, PURPOSE, Hops, Misdirected

ANN = Principal("ann", "key-7", frozenset({"read", "größer"}))
REQUEST = ("owner-1", "POST", b"m1.session", b'{"method":"ping"}')


@dataclass
class Clock:
    """The store's."""

    now: float = 1_795_500_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Replicas:
    """Two that share a ring."""

    keys: SealingKeys = field(default_factory=SealingKeys.ephemeral)
    clock: Clock = field(default_factory=Clock)

    def hops(self) -> Hops:
        return Hops(self.keys.sealer(PURPOSE), self.clock)


@pytest.fixture
def replicas() -> Replicas:
    return Replicas()


@pytest.mark.parametrize("principal", [ANN, ANONYMOUS, Principal("bob", "")], ids=["ann", "anonymous", "bob"])
def test_a_hop_tells_its_owner_on_whose_behalf_it_comes(replicas: Replicas, principal: Principal):
    header = replicas.hops().make(*REQUEST, principal)
    assert replicas.hops().read(header, *REQUEST) == principal


def test_a_hop_fits_into_a_header_and_does_not_show_who_it_is(replicas: Replicas):
    header = replicas.hops().make(*REQUEST, ANN)
    assert header.isascii()
    assert set(header.decode()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")
    assert b"ann" not in base64.urlsafe_b64decode(header)


@pytest.mark.parametrize(
    "changed",
    [
        ("owner-1", "GET", b"m1.session", b'{"method":"ping"}'),
        ("owner-1", "DELETE", b"m1.session", b'{"method":"ping"}'),
        ("owner-1", "POST", b"m1.sessioN", b'{"method":"ping"}'),
        ("owner-1", "POST", b"", b'{"method":"ping"}'),
        ("owner-1", "POST", b"m1.session", b'{"method":"pinG"}'),
        ("owner-1", "POST", b"m1.session", b'{"method":"ping"} '),
        ("owner-1", "POST", b"m1.session", b""),
        ("owner-1", "POST", b"m1.session\0", b'{"method":"ping"}'),
        ("owner-1", "POST\0m1.session", b"", b'{"method":"ping"}'),
        ("owner-2", "GET", b"m1.session", b'{"method":"ping"}'),
    ],
)
def test_a_hop_serves_for_no_other_request(replicas: Replicas, changed: tuple[str, str, bytes, bytes]):
    header = replicas.hops().make(*REQUEST, ANN)
    assert replicas.hops().read(header, *changed) is None


def test_a_hop_for_another_owner_is_told_from_a_strangers(replicas: Replicas):
    header = replicas.hops().make(*REQUEST, ANN)
    assert replicas.hops().read(header, "owner-2", *REQUEST[1:]) == Misdirected()


@pytest.mark.parametrize(
    ("seconds", "served"),
    [(0, True), (MAX_AGE_SECONDS - 1, True), (MAX_AGE_SECONDS + 1, False), (1 - MAX_AGE_SECONDS, True), (-1 - MAX_AGE_SECONDS, False)],
)
def test_a_hop_serves_for_half_a_minute_of_the_stores_clock(replicas: Replicas, seconds: float, served: bool):
    header = replicas.hops().make(*REQUEST, ANN)
    replicas.clock.now += seconds
    assert (replicas.hops().read(header, *REQUEST) is not None) == served


def test_a_hop_of_another_ring_is_a_strangers(replicas: Replicas):
    header = Replicas().hops().make(*REQUEST, ANN)
    assert replicas.hops().read(header, *REQUEST) is None


def test_what_was_sealed_for_another_purpose_is_no_hop(replicas: Replicas):
    header = Hops(replicas.keys.sealer("session-id"), replicas.clock).make(*REQUEST, ANN)
    assert replicas.hops().read(header, *REQUEST) is None


def test_hops_go_through_every_step_of_a_rotation():
    old, new = (base64.urlsafe_b64encode(bytes(range(start, start + 32))).decode().rstrip("=") for start in (0, 100))
    clock = Clock()
    steps = [Hops(SealingKeys.parse(ring).sealer(PURPOSE), clock) for ring in (old, f"{old}\n{new}", f"{new}\n{old}", new)]
    for before, after in itertools.pairwise(steps):
        assert after.read(before.make(*REQUEST, ANN), *REQUEST) == ANN
        assert before.read(after.make(*REQUEST, ANN), *REQUEST) == ANN


def test_a_change_of_any_bit_makes_it_a_strangers(replicas: Replicas):
    raw = base64.urlsafe_b64decode(replicas.hops().make(*REQUEST, ANN))
    hops = replicas.hops()
    for position in range(len(raw)):
        forged = bytearray(raw)
        forged[position] ^= 1 << position % 8
        assert hops.read(base64.urlsafe_b64encode(forged), *REQUEST) is None


@pytest.mark.parametrize("header", [b"", b"x", b"=", b"AAAA", "größer".encode(), b"\xff\xfe", b"A" * 100_000])
def test_what_is_no_hop_at_all_is_a_strangers(replicas: Replicas, header: bytes):
    assert replicas.hops().read(header, *REQUEST) is None


def test_what_our_keys_sealed_and_is_no_hop_is_a_strangers(replicas: Replicas):
    for payload in (b"", b"\xc1", b"\x90", b"\x97\xa1x\x00\xc4\x00\xa1n\xa1k\x90\xc2"):
        header = base64.urlsafe_b64encode(replicas.keys.sealer(PURPOSE).seal(payload))
        assert replicas.hops().read(header, *REQUEST) is None

"""What a replica shows at another's door serves once, for one request to one owner at one address, lately, and within one ring."""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.security.keyring import SealingKeys
from moorage.security.principal import ANONYMOUS, Principal
from moorage.sessions.hop import (
    FORMAT,
    HEADER,
    MAX_AGE_SECONDS,
    MAX_AHEAD_SECONDS,
    PURPOSE,
    TARGET,
    Header,
    Hops,
    Pledge,
    Received,
    Refusal,
)
from moorage.sessions.nonces import Nonces

ANN = Principal("ann", "key-7", frozenset({"read", "größer"}))


@dataclass(frozen=True)
class Request:
    """One, as it leaves a replica or arrives at another."""

    owner: str = "owner-1"
    address: str = "10.0.0.7:9191"
    method: str = "POST"
    target: bytes = TARGET
    headers: tuple[Header, ...] = ((b"mcp-session-id", b"m1.session"), (b"accept", b"*/*"), (b"x-tag", b"a"), (b"x-tag", b"b"))
    body: bytes = b'{"method":"ping"}'


REQUEST = Request()


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


def make(hops: Hops, request: Request = REQUEST, principal: Principal = ANN) -> tuple[bytes, Pledge]:
    return hops.make(request.owner, request.address, request.method, request.headers, request.body, principal)


def read(hops: Hops, token: bytes, request: Request = REQUEST) -> Received | Refusal:
    """Read a request whole, as a door does."""
    received = hops.read(request.address, request.method, request.target, [*request.headers, (HEADER, token)])
    if isinstance(received, Received) and not received.fits(request.body):
        return Refusal.ALTERED
    return received


def principal_of(received: Received | Refusal) -> Principal:
    assert isinstance(received, Received), received
    return received.principal


@pytest.fixture
def replicas() -> Replicas:
    return Replicas()


@pytest.mark.parametrize("principal", [ANN, ANONYMOUS, Principal("bob", "")], ids=["ann", "anonymous", "bob"])
def test_a_token_tells_its_owner_on_whose_behalf_it_comes(replicas: Replicas, principal: Principal):
    token, _ = make(replicas.hops(), principal=principal)
    assert principal_of(read(replicas.hops(), token)) == principal


def test_both_ends_hold_the_same_pledge(replicas: Replicas):
    token, pledge = make(replicas.hops())
    received = read(replicas.hops(), token)
    assert isinstance(received, Received)
    assert received.pledge == pledge
    assert (pledge.owner, pledge.session) == ("owner-1", b"m1.session")


def test_a_token_fits_into_a_header_and_shows_neither_who_it_is_nor_what_proves_the_answer(replicas: Replicas):
    token, pledge = make(replicas.hops())
    version, _, sealed = token.partition(b".")
    assert version == FORMAT
    assert set(sealed.decode()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")
    assert b"ann" not in base64.urlsafe_b64decode(sealed)
    assert pledge.nonce not in base64.urlsafe_b64decode(sealed)
    assert str(pledge.nonce) not in repr(pledge)


def test_the_longest_token_fits_into_what_a_door_adds_to_the_bound_of_a_head(replicas: Replicas):
    longest = replace(REQUEST, owner="0" * 16, address=f"{'a' * 253}:65535")
    token, _ = make(replicas.hops(), longest, Principal("n" * 64, "k" * 64))
    assert len(HEADER) + len(token) + 4 <= 1024


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        (replace(REQUEST, method="GET"), Refusal.ALTERED),
        (replace(REQUEST, method="DELETE"), Refusal.ALTERED),
        (replace(REQUEST, target=b"/mcp?a=b"), Refusal.ALTERED),
        (replace(REQUEST, target=b"/mcp/"), Refusal.ALTERED),
        (replace(REQUEST, target=b"/metrics"), Refusal.ALTERED),
        (replace(REQUEST, headers=((b"mcp-session-id", b"m1.sessioN"), *REQUEST.headers[1:])), Refusal.ALTERED),
        (replace(REQUEST, headers=REQUEST.headers[1:]), Refusal.ALTERED),
        (replace(REQUEST, headers=REQUEST.headers[:-1]), Refusal.ALTERED),
        (replace(REQUEST, headers=(*REQUEST.headers, (b"x-user", b"root"))), Refusal.ALTERED),
        (replace(REQUEST, headers=(*REQUEST.headers[:2], *REQUEST.headers[:1:-1])), Refusal.ALTERED),
        (replace(REQUEST, headers=(*REQUEST.headers[:-1], (b"x-tagb", b""))), Refusal.ALTERED),
        (replace(REQUEST, body=b'{"method":"pinG"}'), Refusal.ALTERED),
        (replace(REQUEST, body=REQUEST.body + b" "), Refusal.ALTERED),
        (replace(REQUEST, body=b""), Refusal.ALTERED),
        (replace(REQUEST, address="10.0.0.8:9191"), Refusal.ELSEWHERE),
        (replace(REQUEST, address="10.0.0.7:9192"), Refusal.ELSEWHERE),
    ],
)
def test_a_token_serves_for_no_other_request(replicas: Replicas, changed: Request, refusal: Refusal):
    token, _ = make(replicas.hops())
    assert read(replicas.hops(), token, changed) is refusal


_FIELDS = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"host", b"mcp-session-id"]), st.binary(max_size=3)), max_size=5)


@given(sent=_FIELDS, came=_FIELDS)
def test_fields_fit_only_when_each_name_has_the_same_values_in_the_same_order(sent: list[Header], came: list[Header]):
    def by_name(fields: list[Header]) -> dict[bytes, list[bytes]]:
        return {name: [value for other, value in fields if other == name] for name, _ in fields}

    hops = Replicas().hops()
    token, _ = make(hops, replace(REQUEST, headers=tuple(sent)))
    received = read(hops, token, replace(REQUEST, headers=tuple(came)))
    assert isinstance(received, Received) == (by_name(sent) == by_name(came))


@pytest.mark.parametrize(
    ("seconds", "served"),
    [
        (0, True),
        (MAX_AGE_SECONDS - 1, True),
        (MAX_AGE_SECONDS + 1, False),
        (1 - MAX_AHEAD_SECONDS, True),
        (-1 - MAX_AHEAD_SECONDS, False),
    ],
)
def test_a_token_serves_for_half_a_minute_of_the_stores_clock(replicas: Replicas, seconds: float, served: bool):
    token, _ = make(replicas.hops())
    replicas.clock.now += seconds
    received = read(replicas.hops(), token)
    assert isinstance(received, Received) if served else received is Refusal.STALE


def test_a_token_of_another_ring_is_a_strangers(replicas: Replicas):
    token, _ = make(Replicas().hops())
    assert read(replicas.hops(), token) is Refusal.STRANGER


def test_what_was_sealed_for_another_purpose_is_no_token(replicas: Replicas):
    token, _ = make(Hops(replicas.keys.sealer("session-id"), replicas.clock))
    assert read(replicas.hops(), token) is Refusal.STRANGER


def test_tokens_go_through_every_step_of_a_rotation():
    old, new = (base64.urlsafe_b64encode(bytes(range(start, start + 32))).decode().rstrip("=") for start in (0, 100))
    clock = Clock()
    steps = [Hops(SealingKeys.parse(ring).sealer(PURPOSE), clock) for ring in (old, f"{old}\n{new}", f"{new}\n{old}", new)]
    for before, after in itertools.pairwise(steps):
        for asker, owner in ((before, after), (after, before)):
            token, pledge = make(asker)
            received = read(owner, token)
            assert isinstance(received, Received)
            assert pledge.is_kept(200, [(b"x-moorage-proof", received.pledge.prove(200, []))])


def test_a_change_of_any_bit_makes_it_a_strangers(replicas: Replicas):
    token, _ = make(replicas.hops())
    raw = base64.urlsafe_b64decode(token[2:])
    hops = replicas.hops()
    for position in range(len(raw)):
        forged = bytearray(raw)
        forged[position] ^= 1 << position % 8
        assert read(hops, token[:2] + base64.urlsafe_b64encode(forged)) is Refusal.STRANGER


@pytest.mark.parametrize("format_", [b"0", b"1", b"3", b"02", b"99"])
def test_a_token_of_another_format_is_told_from_a_strangers_and_does_not_open_as_ours(replicas: Replicas, format_: bytes):
    token, _ = make(replicas.hops())
    assert read(replicas.hops(), format_ + token[1:]) is Refusal.FORMAT
    sealed = replicas.keys.sealer(PURPOSE).seal(b"", format_)
    assert read(replicas.hops(), b"2." + base64.urlsafe_b64encode(sealed)) is Refusal.STRANGER


@pytest.mark.parametrize("token", [b"", b"x", b"=", b"2.", b"2.=", b"2.AAAA", "größer".encode(), b"\xff\xfe", b"2." + b"A" * 100_000])
def test_what_is_no_token_at_all_is_a_strangers(replicas: Replicas, token: bytes):
    assert read(replicas.hops(), token) is Refusal.STRANGER


@given(payload=st.binary(max_size=60))
def test_what_our_keys_sealed_and_is_no_token_is_a_strangers(payload: bytes):
    replicas = Replicas()
    token = b"2." + base64.urlsafe_b64encode(replicas.keys.sealer(PURPOSE).seal(payload, FORMAT))
    assert read(replicas.hops(), token) is Refusal.STRANGER


# Nonces


def test_a_nonce_serves_once_for_as_long_as_its_token_may_live():
    nonces = Nonces(life_seconds=40)
    assert nonces.claim(b"a", 1000) is None
    assert [nonces.claim(b"a", now) for now in (1000, 1020, 1039.9, 1040)] == [Refusal.REPLAYED] * 4


@given(gaps=st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_no_nonce_is_forgotten_within_its_life_whenever_others_come(gaps: list[float]):
    nonces, now, seen = Nonces(life_seconds=40), 1000.0, dict[bytes, float]()
    for number, gap in enumerate(gaps):
        now += gap
        for nonce, since in seen.items():
            if now - since < 40:
                assert nonces.claim(nonce, now) is Refusal.REPLAYED
        seen[b"%d" % number] = now
        assert nonces.claim(b"%d" % number, now) is None


def test_what_cannot_be_remembered_is_refused_and_what_was_seen_stays_seen():
    nonces = Nonces(life_seconds=40, most=3)
    assert [nonces.claim(nonce, 1000) for nonce in (b"a", b"b", b"c", b"d", b"d")] == [None, None, None, Refusal.FULL, Refusal.FULL]
    assert nonces.claim(b"a", 1001) is Refusal.REPLAYED
    assert nonces.claim(b"d", 1041) is None

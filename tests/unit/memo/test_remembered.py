"""What is remembered of clients is bounded in bytes: a flood of large and ever new values leaves little behind, and ends no learning."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY

from moorage.protocol.accept import Accepts
from moorage.protocol.inbound import Envelopes, Inbound
from moorage.security.api_keys import FixedKeys, KeyRing, stored_line
from moorage.security.authn import Authenticator
from moorage.security.cors import Cors
from moorage.security.hosts import HostPolicy, OriginPolicy
from moorage.security.keyring import SealingKeys
from moorage.sessions.identity import PURPOSE, SessionIds
from moorage.telemetry.redaction import forget_digests, short

KIB = 1024
HEAD_BYTES = 30 * KIB
TOKEN = "moor_" + "k" * 43

Asked = Callable[[int], object]


def large(count: int) -> bytes:
    """A value of a header field, as large as a head may be."""
    return (b"%08d" % count).ljust(HEAD_BYTES, b"x")


def accepts() -> Asked:
    known = Accepts()
    return lambda count: known(large(count))


def hosts() -> Asked:
    policy = HostPolicy(["*"])
    return lambda count: policy.allows(b"%d.example" % count + b"." + b"x" * 480)


def origins() -> Asked:
    cors = Cors(OriginPolicy(["*"]))
    return lambda count: cors.headers(b"https://%d.example" % count + b"." + b"x" * 480)


def keys() -> Asked:
    authenticator = Authenticator(FixedKeys(KeyRing.parse(stored_line("ci", TOKEN))), anonymous=False)
    return lambda count: authenticator.authenticate(b"Bearer" + b" " * (count % 400 + 1) + TOKEN.encode() + b" " * (count // 400))


def envelopes() -> Asked:
    known = Envelopes()

    def ask(count: int) -> bool:
        client = {"name": large(count)[:4000].decode(), "version": "1"}
        return known.accepts(Inbound(count, "tools/call", {}, {CLIENT_CAPABILITIES_META_KEY: {}, CLIENT_INFO_META_KEY: client}))

    return ask


def digests() -> Asked:
    forget_digests()
    return lambda count: short(large(count).decode())


def session_ids() -> Asked:
    process = SessionIds(SealingKeys.ephemeral().sealer(PURPOSE), mint=b"proc", lifetime_seconds=None)
    chain: Any = {}
    for _ in range(90):
        chain = {"": chain}

    def ask(count: int) -> object:
        client = {"capabilities": {"experimental": {"x": [chain] * (10, 40)[count % 2]}}}
        return process.open(process.mint("2025-11-25", client, "ci")[0])

    return ask


MEMOS = [
    pytest.param(accepts, 1_100, 256 * KIB, id="Accept"),
    pytest.param(hosts, 3_000, 1024 * KIB, id="Host"),
    pytest.param(origins, 3_000, 1024 * KIB, id="Origin"),
    pytest.param(keys, 3_000, 1024 * KIB, id="Authorization"),
    pytest.param(envelopes, 1_500, 3 * 1024 * KIB, id="envelopes"),
    pytest.param(digests, 1_100, 1536 * KIB, id="session ids in logs"),
    pytest.param(session_ids, 300, 17 * 1024 * KIB, id="session ids"),
]


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """Bytes that were allocated since and are still in use."""
    gc.collect()
    tracemalloc.start()
    yield lambda: (gc.collect(), tracemalloc.get_traced_memory()[0])[1]
    tracemalloc.stop()


@pytest.mark.parametrize(("make", "flood", "most"), MEMOS)
def test_a_flood_leaves_no_more_than_the_bound(make: Callable[[], Asked], flood: int, most: int, traced: Callable[[], int]) -> None:
    ask = make()
    ask(0)
    before = traced()
    for count in range(1, flood):
        assert ask(count)
    assert traced() - before < most


def page(cors: Cors) -> Callable[[bytes], object]:
    return lambda value: cors.headers(b"https://" + value[:200])


LEARNERS = [
    pytest.param(Accepts(), id="Accept"),
    pytest.param(page(Cors(OriginPolicy(["*"]))), id="Origin"),
    pytest.param(lambda value: short(value.decode()), id="session ids in logs"),
]


@pytest.mark.parametrize("ask", LEARNERS)
def test_after_a_flood_a_new_and_honest_value_is_still_learned(ask: Callable[[bytes], object]) -> None:
    for count in itertools.chain(range(1_100), range(2_000, 3_100)):
        ask(b"%d.example" % count)
    assert ask(b"honest.example") is ask(bytes(bytearray(b"honest.example")))


def test_after_a_flood_a_new_envelope_is_validated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    validated: list[Any] = []
    ask = envelopes()
    for count in range(1_500):
        ask(count)
    monkeypatch.setattr("moorage.protocol.inbound.spec.validate_client_request", lambda *asked: validated.append(asked))
    assert ask(5_000)
    assert ask(5_000)
    assert len(validated) == 1

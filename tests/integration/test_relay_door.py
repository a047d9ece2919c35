"""The relay door of a running replica: open for replicas with our keys, for what is meant for this owner, and for nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx2 as httpx
import pytest

from moorage.security.keyring import SealingKeys
from moorage.security.principal import Principal
from moorage.sessions.hop import HEADER, PURPOSE, Hops
from tests.integration.serving import client, request
from tests.integration.sharing import ANN, KEYS, Party, deployed, gauge, text_of
from tests.services import Fleet, Redis, Replica, sealing_key

pytestmark = pytest.mark.anyio

STRANGER, MISDIRECTED = 403, 421


@dataclass(frozen=True)
class Doors:
    """What another replica knows of a deployment.

    Attributes:
        doors: Owner and address of each replica's door, by number.
        key: What replicas seal with.
        seconds: The store's clock, and what a hop may say instead.
    """

    doors: tuple[tuple[str, str], ...]
    key: str
    seconds: float

    def hop(self, owner: str, method: str, session: str, body: bytes, name: str = "ann") -> dict[str, str]:
        hops = Hops(SealingKeys.parse(self.key).sealer(PURPOSE), lambda: self.seconds)
        return {HEADER.decode(): hops.make(owner, method, session.encode(), body, Principal(name, "k")).decode()}


@pytest.fixture(scope="module")
def store() -> Iterator[Redis]:
    with Redis() as it:
        yield it


@pytest.fixture(scope="module")
async def fleet(store: Redis) -> AsyncIterator[Fleet]:
    async with deployed(store=store, **KEYS) as it:
        yield it


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with client() as it:
        yield it


@pytest.fixture
async def ann(http: httpx.AsyncClient, fleet: Fleet) -> Party:
    """A session that the first replica owns."""
    return await Party.begin(http, fleet[0], ANN)


@pytest.fixture
def known(fleet: Fleet, store: Redis) -> Doors:
    with store.client() as keys:
        owners = {str(keys.get(key)): key.partition("{")[2].rstrip("}") for key in keys.scan_iter("moorage:owner:*")}
        now: Any = keys.time()
    addresses = [address_of(replica) for replica in fleet.replicas]
    return Doors(tuple((owners[address], address) for address in addresses), fleet.sealing_key, float(now[0]))


def address_of(replica: Replica) -> str:
    return str(json.loads(replica.logged(lambda line: "relay.listening" in line))["address"])


BODY = json.dumps(request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})).encode()


async def post(http: httpx.AsyncClient, party: Party, address: str, hop: dict[str, str], body: bytes = BODY) -> httpx.Response:
    headers = {**party.headers, "content-type": "application/json", **hop}
    headers.pop("authorization")
    return await http.post(f"http://{address}/mcp", content=body, headers=headers)


async def test_a_request_that_a_replica_passes_on_is_served_on_behalf_of_whom_it_names(ann: Party, http: httpx.AsyncClient, known: Doors):
    owner, address = known.doors[0]
    answer = await post(http, ann, address, known.hop(owner, "POST", ann.id, BODY))
    assert answer.status_code == 200
    assert text_of(answer.json()) == "3"
    other = await post(http, ann, address, known.hop(owner, "POST", ann.id, BODY, name="bob"))
    assert other.status_code == 404, "whose session it is is judged here as well"


async def test_without_a_hop_nobody_is_served_whatever_key_is_shown(ann: Party, http: httpx.AsyncClient, known: Doors):
    _, address = known.doors[0]
    assert (await post(http, ann, address, {})).status_code == STRANGER
    assert (await post(http, ann, address, {"authorization": f"Bearer {ANN}"})).status_code == STRANGER
    assert (await http.get(f"http://{address}/mcp", headers=ann.headers)).status_code == STRANGER
    assert (await http.get(f"http://{address}/metrics")).status_code == STRANGER


async def test_a_hop_serves_for_no_other_method_body_or_session(ann: Party, http: httpx.AsyncClient, fleet: Fleet, known: Doors):
    owner, address = known.doors[0]
    other = await Party.begin(http, fleet[0], ANN)
    wrong = [
        known.hop(owner, "DELETE", ann.id, BODY),
        known.hop(owner, "POST", ann.id, BODY + b" "),
        known.hop(owner, "POST", other.id, BODY),
        known.hop(owner, "POST", "", BODY),
    ]
    assert [(await post(http, ann, address, hop)).status_code for hop in wrong] == [STRANGER] * len(wrong)
    stolen = known.hop(owner, "POST", ann.id, BODY)
    assert (await http.request("DELETE", f"http://{address}/mcp", headers={**ann.headers, **stolen})).status_code == STRANGER
    assert await ann.call(fleet[1], "add", a=1, b=2) == "3"


async def test_a_hop_serves_for_half_a_minute_and_only_within_the_ring(ann: Party, http: httpx.AsyncClient, known: Doors):
    owner, address = known.doors[0]
    for seconds, status in ((-40, STRANGER), (40, STRANGER), (-15, 200), (15, 200)):
        aged = replace(known, seconds=known.seconds + seconds)
        assert (await post(http, ann, address, aged.hop(owner, "POST", ann.id, BODY))).status_code == status, seconds
    foreign = replace(known, key=sealing_key())
    assert (await post(http, ann, address, foreign.hop(owner, "POST", ann.id, BODY))).status_code == STRANGER


async def test_a_hop_for_another_owner_is_misdirected(ann: Party, http: httpx.AsyncClient, known: Doors):
    (_, address), (other, _) = known.doors
    for owner in (other, "0123456789abcdef"):
        assert (await post(http, ann, address, known.hop(owner, "POST", ann.id, BODY))).status_code == MISDIRECTED


async def test_a_request_is_never_passed_on_a_second_time(ann: Party, http: httpx.AsyncClient, fleet: Fleet, known: Doors):
    owner, address = known.doors[1]
    before = await gauge(http, fleet[1], "moorage_relay_requests_total")
    answer = await post(http, ann, address, known.hop(owner, "POST", ann.id, BODY))
    assert answer.status_code == MISDIRECTED
    assert await gauge(http, fleet[1], "moorage_relay_requests_total") == before


async def test_the_door_refuses_what_the_public_port_refuses(ann: Party, http: httpx.AsyncClient, known: Doors):
    owner, address = known.doors[0]
    large = b" " * (5 * 1024 * 1024)
    assert (await post(http, ann, address, known.hop(owner, "POST", ann.id, large), large)).status_code == 413
    strange = b"{"
    assert (await post(http, ann, address, known.hop(owner, "POST", ann.id, strange), strange)).status_code == 400


@pytest.mark.parametrize(
    ("value", "setting"),
    [(b"[" * 200 + b"]" * 200, "http.max_json_depth"), (b"[" + b"0," * 60_000 + b"0]", "http.max_json_values")],
    ids=["deep", "many"],
)
async def test_the_door_decodes_no_body_beyond_the_bounds(ann: Party, http: httpx.AsyncClient, known: Doors, value: bytes, setting: str):
    owner, address = known.doors[0]
    body = BODY[:-1] + b',"more":' + value + b"}"
    answer = await post(http, ann, address, known.hop(owner, "POST", ann.id, body), body)
    assert answer.status_code == 400
    assert setting in answer.json()["error"]["message"]


async def test_the_public_port_believes_no_hop(ann: Party, http: httpx.AsyncClient, fleet: Fleet, known: Doors):
    owner, _ = known.doors[0]
    hop = known.hop(owner, "POST", ann.id, BODY)
    answer = await post(http, ann, fleet[0].url.removeprefix("http://"), hop)
    assert answer.status_code == 401

"""The relay door of a running replica: open for replicas with our keys, for what is meant for this owner, and for nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpcore2 as httpcore
import httpx2 as httpx
import pytest

from moorage.security.keyring import SealingKeys
from moorage.security.principal import Principal
from moorage.sessions.hop import HEADER, PROOF, PURPOSE, Hops, Pledge
from tests.integration.serving import ACCEPT, client, request
from tests.integration.sharing import ANN, KEYS, Party, deployed, gauge, text_of
from tests.services import Fleet, Redis, Replica, addresses_of, sealing_key

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

    def make(
        self, owner: str, address: str, method: str, session: str, body: bytes, name: str = "ann", **more: str
    ) -> tuple[dict[str, str], Pledge]:
        """All headers of a relayed request, the token among them, and what its answer is proved by."""
        hops = Hops(SealingKeys.parse(self.key).sealer(PURPOSE), lambda: self.seconds)
        headers = {"host": "localhost", "accept": ACCEPT, "content-type": "application/json", "mcp-session-id": session}
        headers |= {field.replace("_", "-"): value for field, value in more.items()}
        pairs = [(field.encode(), value.encode()) for field, value in headers.items()]
        token, pledge = hops.make(owner, address, method, pairs, body, Principal(name, "k"))
        return {**headers, HEADER.decode(): token.decode()}, pledge

    def hop(self, owner: str, address: str, method: str, session: str, body: bytes, name: str = "ann") -> dict[str, str]:
        return self.make(owner, address, method, session, body, name)[0]


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
        owners = {address: owner for owner, address in addresses_of(keys, "moorage", fleet.sealing_key).items()}
        now: Any = keys.time()
    addresses = [address_of(replica) for replica in fleet.replicas]
    return Doors(tuple((owners[address], address) for address in addresses), fleet.sealing_key, float(now[0]))


def address_of(replica: Replica) -> str:
    return str(json.loads(replica.logged(lambda line: "relay.listening" in line))["address"])


BODY = json.dumps(request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})).encode()


async def send(address: str, method: str, headers: dict[str, str], body: bytes, target: str = "/mcp") -> httpcore.Response:
    """Exactly these headers, beside a Content-Length."""
    async with httpcore.AsyncConnectionPool() as pool:
        return await pool.request(method, f"http://{address}{target}", headers=list(headers.items()), content=body)


async def post(address: str, headers: dict[str, str], body: bytes = BODY) -> httpcore.Response:
    return await send(address, "POST", headers, body)


async def test_a_request_that_a_replica_passes_on_is_served_on_behalf_of_whom_it_names(ann: Party, known: Doors):
    owner, address = known.doors[0]
    answer = await post(address, known.hop(owner, address, "POST", ann.id, BODY))
    assert answer.status == 200
    assert text_of(json.loads(answer.content)) == "3"
    other = await post(address, known.hop(owner, address, "POST", ann.id, BODY, name="bob"))
    assert other.status == 404, "whose session it is is judged here as well"


async def test_every_answer_to_a_request_of_ours_proves_whose_it_is(ann: Party, known: Doors):
    (owner, address), (other, _) = known.doors
    large, strange = b" " * (5 * 1024 * 1024), b"{"
    cases = {200: (owner, "POST", BODY), 400: (owner, "POST", strange), 405: (owner, "PUT", BODY), 413: (owner, "POST", large)}
    for status, (meant, method, body) in {**cases, MISDIRECTED: (other, "POST", BODY)}.items():
        headers, pledge = known.make(meant, address, method, ann.id, body)
        answer = await send(address, method, headers, body)
        assert answer.status == status
        assert pledge.is_kept(status, answer.headers)
        assert not pledge.is_kept(status + 1, answer.headers)


@pytest.mark.parametrize("lie", [{"mcp_method": "tools/list"}, {"mcp_name": "echo"}], ids=["method", "name"])
async def test_the_door_serves_no_call_whose_routing_headers_lie(ann: Party, known: Doors, lie: dict[str, str]):
    owner, address = known.doors[0]
    true, _ = known.make(owner, address, "POST", ann.id, BODY, mcp_method="tools/call", mcp_name="add")
    assert (await post(address, true)).status == 200
    answer = await post(address, known.make(owner, address, "POST", ann.id, BODY, **lie)[0])
    assert answer.status == 400
    assert b"does not match" in answer.content


async def test_without_a_token_nobody_is_served_whatever_key_is_shown(ann: Party, http: httpx.AsyncClient, known: Doors):
    owner, address = known.doors[0]
    plain = known.hop(owner, address, "POST", ann.id, BODY)
    del plain[HEADER.decode()]
    assert (await post(address, plain)).status == STRANGER
    answer = await post(address, {**plain, "authorization": f"Bearer {ANN}"})
    assert answer.status == STRANGER
    assert PROOF not in dict(answer.headers)
    assert (await http.get(f"http://{address}/mcp", headers=ann.headers)).status_code == STRANGER
    assert (await http.get(f"http://{address}/metrics")).status_code == STRANGER


async def test_a_token_serves_for_no_other_method_target_body_session_or_field(
    ann: Party, http: httpx.AsyncClient, fleet: Fleet, known: Doors
):
    owner, address = known.doors[0]
    other = await Party.begin(http, fleet[0], ANN)
    right = known.hop(owner, address, "POST", ann.id, BODY)
    refused = [
        await send(address, "DELETE", right, BODY),
        await send(address, "POST", right, BODY, target="/mcp?a=b"),
        await send(address, "POST", right, BODY, target="/metrics"),
        await post(address, right, BODY + b" "),
        await post(address, {**right, "mcp-session-id": other.id}),
        await post(address, {**right, "x-user": "root"}),
        await post(address, {**right, "cookie": "a=b"}),
        await post(address, {field: value for field, value in right.items() if field != "accept"}),
    ]
    assert [answer.status for answer in refused] == [STRANGER] * len(refused)
    assert await ann.call(fleet[1], "add", a=1, b=2) == "3"


async def test_a_token_serves_once_even_beside_itself(ann: Party, http: httpx.AsyncClient, fleet: Fleet, known: Doors):
    owner, address = known.doors[0]
    before = await gauge(http, fleet[0], "moorage_relay_refusals_total")
    headers = known.hop(owner, address, "POST", ann.id, BODY)
    answers = await asyncio.gather(*(post(address, headers) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, *[STRANGER] * 4]
    assert b"used before" in (await post(address, headers)).content
    assert await gauge(http, fleet[0], "moorage_relay_refusals_total") == before + 5
    assert 'moorage_relay_refusals_total{moorage_relay_refusal_reason="replayed"}' in (await http.get(f"{fleet[0].admin_url}/metrics")).text
    assert "replayed" in fleet[0].logged(lambda line: "relay.refused" in line and "replayed" in line)


async def test_a_token_serves_for_half_a_minute_and_only_within_the_ring(ann: Party, known: Doors):
    owner, address = known.doors[0]
    for seconds, status in ((-40, STRANGER), (20, STRANGER), (-15, 200), (5, 200)):
        aged = replace(known, seconds=known.seconds + seconds)
        assert (await post(address, aged.hop(owner, address, "POST", ann.id, BODY))).status == status, seconds
    foreign = replace(known, key=sealing_key())
    assert (await post(address, foreign.hop(owner, address, "POST", ann.id, BODY))).status == STRANGER


async def test_strangers_write_one_line_of_the_log_a_minute_and_are_all_counted(store: Redis, http: httpx.AsyncClient):
    async with deployed(1, store=store, STORE__PREFIX="quiet", **KEYS) as fleet:
        address = address_of(fleet[0])
        for _ in range(30):
            assert (await post(address, {"host": "localhost"})).status == STRANGER
        assert (await post(address, {"host": "localhost", HEADER.decode(): "3.x"})).status == STRANGER  # its line comes after all of theirs
        fleet[0].logged(lambda line: "relay.refused" in line and "unknown_format" in line)
        written = [(event["reason"], event["left_out"]) for event in fleet[0].events() if event["event"] == "relay.refused"]
        assert written == [("stranger", 0), ("unknown_format", 0)]
        assert await gauge(http, fleet[0], "moorage_relay_refusals_total") == 31


async def test_a_token_of_another_version_is_refused_in_words(ann: Party, known: Doors):
    owner, address = known.doors[0]
    headers = known.hop(owner, address, "POST", ann.id, BODY)
    headers[HEADER.decode()] = "3" + headers[HEADER.decode()][1:]
    answer = await post(address, headers)
    assert answer.status == STRANGER
    assert b"another format" in answer.content


async def test_a_token_for_another_owner_is_misdirected_and_one_for_another_address_is_a_strangers(ann: Party, known: Doors):
    (owner, address), (other, elsewhere) = known.doors
    for meant in (other, "0123456789abcdef"):
        assert (await post(address, known.hop(meant, address, "POST", ann.id, BODY))).status == MISDIRECTED
    headers, pledge = known.make(owner, address, "POST", ann.id, BODY)
    answer = await post(elsewhere, headers)
    assert answer.status == STRANGER, "else whoever redirects a request could have a living owner succeeded"
    assert not pledge.is_kept(answer.status, answer.headers)


async def test_a_request_is_never_passed_on_a_second_time(ann: Party, http: httpx.AsyncClient, fleet: Fleet, known: Doors):
    owner, address = known.doors[1]
    before = await gauge(http, fleet[1], "moorage_relay_requests_total")
    answer = await post(address, known.hop(owner, address, "POST", ann.id, BODY))
    assert answer.status == MISDIRECTED
    assert await gauge(http, fleet[1], "moorage_relay_requests_total") == before


@pytest.mark.parametrize(
    ("value", "setting"),
    [(b"[" * 200 + b"]" * 200, "http.max_json_depth"), (b"[" + b"0," * 60_000 + b"0]", "http.max_json_values")],
    ids=["deep", "many"],
)
async def test_the_door_decodes_no_body_beyond_the_bounds(ann: Party, known: Doors, value: bytes, setting: str):
    owner, address = known.doors[0]
    body = BODY[:-1] + b',"more":' + value + b"}"
    answer = await post(address, known.hop(owner, address, "POST", ann.id, body), body)
    assert answer.status == 400
    assert setting in json.loads(answer.content)["error"]["message"]


async def test_the_public_port_believes_no_token(ann: Party, fleet: Fleet, known: Doors):
    owner, address = known.doors[0]
    answer = await post(fleet[0].url.removeprefix("http://"), known.hop(owner, address, "POST", ann.id, BODY))
    assert answer.status == 401

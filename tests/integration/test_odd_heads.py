"""Every row of docs/security.md, "The connection and the head of a request", on all three ports of a real process, by both eras."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from moorage.security.keyring import SealingKeys
from moorage.security.principal import ANONYMOUS
from moorage.sessions.hop import HEADER, PURPOSE, Hops
from tests.integration.serving import ACCEPT, initialize, modern, request
from tests.integration.test_relay_door import address_of
from tests.services import Fleet, Redis, addresses_of

pytestmark = pytest.mark.anyio

TARGET = Path(__file__).with_name("hasty_heads.py")
PATHS = {"public": "/mcp", "admin": "/readyz", "relay": "/mcp"}
ERAS = {"legacy": "2025-11-25", "modern": "2026-07-28"}
SPOKEN = [("public", "legacy"), ("public", "modern"), ("admin", ""), ("relay", "legacy")]
"""Only the handshake era is relayed, and at the admin port no era is spoken."""

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
ROWS = (
    "bytes of a request's head",
    "fields of a head",
    "request target",
    "time to a complete head",
    "Expect other than",
    "more than one Host or Authorization",
    "an absolute request target",
    "Mcp-Method or Mcp-Name",
    "requests that wait on a connection",
)

REFUSED: dict[str, tuple[bytes, int]] = {
    "bytes": (b"{method} {path} HTTP/1.1\r\nhost: localhost\r\nx-a: " + b"a" * 200_000 + b"\r\n\r\n", 431),
    "fields": (b"{method} {path} HTTP/1.1\r\nhost: localhost\r\n" + b"".join(b"x-%d: a\r\n" % n for n in range(300)) + b"\r\n", 431),
    "target": (b"{method} {path}?" + b"a" * 9000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n", 414),
    "absolute target": (b"{method} http://elsewhere.example{path} HTTP/1.1\r\nhost: localhost\r\n\r\n", 421),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    **{
        f"HTTP/{version}": (b"{method} {path} HTTP/%b\r\nhost: localhost\r\n\r\n" % version.encode(), 400)
        for version in ("2.0", "0.9", "1.2", "3.0", "9.9", "1.10", "11")
    },
    "half a head": (b"{method} {path} HTTP/1.1\r\nhost: local", 408),
    **{
        name: (b"{method} {path} HTTP/1.1\r\nhost: localhost\r\n" + field + b"\r\n\r\n", status)
        for name, field, status in (
            ("expectation", b"expect: foo", 417),
            ("gzip", b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", 415),
            ("transfer encoding", b"transfer-encoding: gzip, chunked", 501),
            ("two hosts", b"host: localhost", 400),
            ("another host behind", b"host: elsewhere.example", 400),
            ("two keys", b"authorization: Bearer a\r\nauthorization: Bearer b", 400),
            ("control character", b"x-a: b\x01c", 400),
            ("NUL", b"x-a: b\0c", 400),
            ("bare CR", b"x-a: b\rc", 400),
            ("bare LF", b"x-a: b\nc", 400),
            ("two lengths", b"content-length: 1\r\ncontent-length: 2", 400),
            ("two framings", b"content-length: 1\r\ntransfer-encoding: chunked", 400),
        )
    },
}


@pytest.fixture(scope="module")
def store() -> Iterator[Redis]:
    with Redis() as it:
        yield it


@pytest.fixture(scope="module")
async def fleet(store: Redis) -> AsyncIterator[Fleet]:
    async with Fleet(TARGET, size=1, store_url=store.url) as it:
        yield it


@pytest.fixture
def ports(fleet: Fleet) -> dict[str, str]:
    """The address of each port."""
    [replica] = fleet.replicas
    public, admin = (url.removeprefix("http://") for url in (replica.url, replica.admin_url))
    return {"public": public, "admin": admin, "relay": address_of(replica)}


async def say(address: str, sent: bytes) -> bytes:
    """Everything that a port answers until it closes the connection."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    heard = b""
    try:
        with anyio.fail_after(15), suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
            while part := await reader.read(65536):
                heard += part
    finally:
        writer.close()
    return heard


def statuses(heard: bytes) -> list[int]:
    return [int(part[:3]) for part in heard.split(b"HTTP/1.1 ")[1:]]


def test_the_table_in_the_docs_has_the_rows_that_are_tested_here() -> None:
    table = SECURITY.read_text().split("### The connection and the head of a request")[1].split("\n\n")[1]
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert len(rows) == len(ROWS)
    assert [row for row, known in zip(rows, ROWS, strict=True) if not row.startswith(known)] == []


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(("port", "era"), SPOKEN)
@pytest.mark.parametrize("row", REFUSED)
async def test_a_head_beyond_its_bounds_is_refused_at_every_port(ports: dict[str, str], port: str, era: str, row: str, method: str) -> None:
    sent, status = REFUSED[row]
    sent = sent.replace(b"{method}", method.encode()).replace(b"{path}", PATHS[port].encode())
    if era and row != "HTTP/2":
        sent = sent.replace(b"host: local", f"mcp-protocol-version: {ERAS[era]}\r\nhost: local".encode(), 1)
    heard = await say(ports[port], sent)
    assert statuses(heard) == [status], heard
    assert b"connection: close" in heard.lower()


@pytest.mark.parametrize("port", PATHS)
async def test_requests_that_wait_on_a_connection_are_bounded_at_every_port(ports: dict[str, str], port: str) -> None:
    path = "/mcp" if port == "relay" else "/readyz"
    heard = await say(ports[port], b"GET %s HTTP/1.1\r\nhost: localhost\r\n\r\n" % path.encode() * 100)
    assert 1 <= len(statuses(heard)) <= 17


@pytest.mark.parametrize(
    ("port", "host", "status"),
    [
        ("public", "elsewhere.example", 421),
        ("public", "127.0.0.1", 405),
        ("admin", "elsewhere.example", 421),
        ("admin", "10.1.2.3:9000", 200),
        ("admin", "localhost", 200),
        ("admin", None, 200),
        ("relay", "elsewhere.example", 403),
    ],
)
async def test_each_port_serves_the_hosts_that_the_table_says(ports: dict[str, str], port: str, host: str | None, status: int) -> None:
    method = "PUT" if port == "public" else "GET"
    field = "" if host is None else f"host: {host}\r\n"
    sent = f"{method} {PATHS[port]} HTTP/1.1\r\n{field}connection: close\r\naccept: */*\r\n\r\n"
    assert statuses(await say(ports[port], sent.encode())) == [status]


BODY = json.dumps(request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})).encode()
LIES: dict[str, tuple[tuple[str, str], ...]] = {
    "none": (("mcp-method", "tools/call"), ("mcp-name", "add")),
    "method": (("mcp-method", "tools/list"),),
    "name": (("mcp-name", "echo"),),
    "two methods": (("mcp-method", "tools/call"), ("mcp-method", "tools/call")),
    "two names": (("mcp-name", "add"), ("mcp-name", "add")),
    "two sessions": (("mcp-session-id", "{session}"),),
    "two content types": (("content-type", "application/json"),),
    "two positions": (("last-event-id", "a"), ("last-event-id", "b")),
    "two revisions": (("mcp-protocol-version", ERAS["legacy"]), ("mcp-protocol-version", ERAS["legacy"])),
}


def raw(method: str, pairs: list[tuple[str, str]], body: bytes) -> bytes:
    head = [f"{method} /mcp HTTP/1.1", *(f"{name}: {value}" for name, value in pairs), f"content-length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


@pytest.mark.parametrize("port", ["public", "relay"])
@pytest.mark.parametrize("lie", LIES)
async def test_what_routes_a_request_of_the_handshake_era_comes_once_and_is_true(
    ports: dict[str, str], fleet: Fleet, store: Redis, port: str, lie: str
) -> None:
    basis = [("host", "localhost"), ("connection", "close"), ("accept", ACCEPT), ("content-type", "application/json")]
    opened = await say(ports["public"], raw("POST", basis, json.dumps(initialize()).encode()))
    session = next(line.split(b": ")[1].decode() for line in opened.split(b"\r\n") if line.lower().startswith(b"mcp-session-id"))
    pairs = [*basis, ("mcp-session-id", session), *((name, value.format(session=session)) for name, value in LIES[lie])]
    if port == "relay":
        pairs.append((HEADER.decode(), _token(fleet, store, ports["relay"], pairs)))
    heard = await say(ports[port], raw("POST", pairs, BODY))
    assert statuses(heard) == [200 if lie == "none" else 400], heard
    assert (b'"result"' in heard) is (lie == "none")


def _token(fleet: Fleet, store: Redis, address: str, pairs: list[tuple[str, str]]) -> str:
    """What another replica would send along."""
    with store.client() as keys:
        [owner] = [owner for owner, at in addresses_of(keys, "moorage", fleet.sealing_key).items() if at == address]
        now: Any = keys.time()
    hops = Hops(SealingKeys.parse(fleet.sealing_key).sealer(PURPOSE), lambda: float(now[0]))
    token, _ = hops.make(owner, address, "POST", [(name.encode(), value.encode()) for name, value in pairs], BODY, ANONYMOUS)
    return token.decode()


@pytest.mark.parametrize("lie", ["none", "method", "name", "two methods", "two names"])
async def test_what_routes_a_modern_request_comes_once_and_is_true(ports: dict[str, str], lie: str) -> None:
    message, headers = modern("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
    told = dict(LIES[lie])
    pairs = [
        ("host", "localhost"),
        ("connection", "close"),
        *((name.lower(), told.get(name.lower(), value)) for name, value in headers.items()),
    ]
    pairs += [pair for pair in LIES[lie] if lie.startswith("two")][:1]
    heard = await say(ports["public"], raw("POST", [("content-type", "application/json"), *pairs], json.dumps(message).encode()))
    assert statuses(heard) == [200 if lie == "none" else 400], heard

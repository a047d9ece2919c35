"""No secret of a caller reaches an output: keys, arguments, queries and texts of failures are looked for in all that is written."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.integration.serving import META, Legacy, client, initialize, modern, request, serving
from tests.services import Fleet, Redis

pytestmark = pytest.mark.anyio

CANARY = "c4n4ry"
KEY = f"{CANARY}-key-0123456789abcdefghijklmnopqrstuvwxyz"
OTHER = "other-key-0123456789abcdefghijklmnopqrstuvwxyz0123"
SECRETS: dict[str, str] = {"authorization": f"Bearer {KEY}", "cookie": f"session={CANARY}", "proxy-authorization": f"Basic {CANARY}"}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("headers", {}),
    ("explode", {"secret": CANARY}),
    ("explode_within", {"secret": CANARY}),
    ("refuse", {"secret": CANARY}),
    ("look", {"secret": CANARY}),
    ("count", {"number": CANARY, "by_name": {CANARY: CANARY}}),
    ("count_within", {"number": CANARY, "by_name": {CANARY: CANARY}, "wanted": {CANARY: CANARY}}),
    ("leave", {"secret": CANARY}),
    ("nobody-knows", {"secret": CANARY}),
]
LIBRARY = ("pydantic", "validation error", "input_value", "Traceback", "site-packages", "For further information")
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    *(("tools/call", {"name": name, "arguments": arguments}) for name, arguments in CALLS),
    ("tools/list", {"cursor": {"secret": CANARY}}),
    ("resources/read", {"uri": f"memo://x?key={CANARY}"}),
    ("resources/read", {"uri": f"counted://all?number={CANARY}"}),
    ("prompts/get", {"name": "numbered", "arguments": {"number": CANARY}}),
    ("prompts/get", {"name": "numbered", "arguments": {CANARY: CANARY}}),
    ("prompts/get", {"name": "nobody-knows", "arguments": {"secret": CANARY}}),
    ("completion/complete", {"ref": CANARY}),
]


def tells_the_caller(method: str, params: dict[str, Any]) -> bool:
    """Whether the team's own words (`ToolError`) or the address that was not found tell a caller what it sent."""
    return params.get("name") == "refuse" or method == "resources/read"


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP endpoint that keeps the bytes that it gets."""
    kept: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def overheard(store: Redis) -> Iterator[list[str]]:
    """All commands that the store gets, those of its scripts too, with their arguments."""
    heard: list[str] = []
    with socket.create_connection(("127.0.0.1", store.port)) as monitor, monitor.makefile() as lines, store.client() as keys:
        monitor.sendall(b"MONITOR\r\n")
        assert lines.readline() == "+OK\n"

        def listen() -> None:
            for line in lines:
                if "that is all" in line:
                    return
                heard.append(line)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield heard
        finally:
            keys.echo("that is all")
            thread.join()


async def drive(http: httpx.AsyncClient, url: str, owner: str | None = None) -> list[str]:
    """Every method, path, error and era; returns what tools said about the headers that they see.

    Args:
        owner: Where the session begins; its requests go to `url`.
    """
    seen: list[str] = []
    opening = await http.post(f"{owner or url}/mcp", json=initialize(), headers={"accept": "application/json, text/event-stream"} | SECRETS)
    session = Legacy(http, f"{url}/mcp", SECRETS | {"accept": "application/json, text/event-stream"})
    session.headers["mcp-session-id"] = opening.headers["mcp-session-id"]
    await session.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
    for method, params in REQUESTS:
        body, headers = modern(method, params)
        answers = (
            await http.post(f"{url}/mcp?key={CANARY}", json=body, headers=headers | SECRETS),
            await session.post(request(method, params | {"_meta": {"progressToken": 1}})),
            await http.post(f"{url}/mcp", json=body, headers=headers | {"mcp-method": "tools/list"} | SECRETS),
        )
        seen.extend(answer.text for answer in answers if params.get("name") == "headers")
        for answer in answers:
            assert answer.headers["content-type"].startswith(("application/json", "text/event-stream"))
            assert [word for word in LIBRARY if word in answer.text] == [], (method, params)
            assert CANARY not in answer.text or tells_the_caller(method, params), (method, params, answer.text)
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"):
        for path in ("/", "/mcp", "/nowhere", "/docs", "/openapi.json"):
            for secrets in (SECRETS, {"authorization": f"Bearer {CANARY}"}):
                headers = {"mcp-session-id": CANARY, "last-event-id": CANARY, "accept": "application/json, text/event-stream"} | secrets
                content = f'{{"secret":"{CANARY}"'.encode()
                answer = await http.request(method, f"{url}{path}?key={CANARY}", content=content, headers=headers)
                assert CANARY not in answer.text, (method, path)
    return seen


KEYS = "\n".join(f"{name}:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in (("ann", KEY), ("bob", OTHER)))
TARGET = Path(__file__).with_name("canary_tools.py")


@pytest.mark.parametrize("level", ["debug", "info"])
async def test_nothing_that_a_caller_tells_is_written_anywhere(level: str) -> None:
    with collector() as (endpoint, exported):
        settings = {"SECURITY__API_KEYS": KEYS, "LOGS__LEVEL": level}
        collected = {"plain_OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "plain_OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
        async with serving("moorage", target=TARGET, **settings, **collected) as server, client() as http:
            seen = await drive(http, server.url)
            metrics = (await http.get(f"{server.admin}/metrics?key={CANARY}")).text
            server.signal()
            await server.exit_code(20)
            await server.ended()
    assert len(seen) == 3
    assert not [text for text in seen if CANARY in text], "a tool sees no credentials"
    assert "tools/call explode" in b"".join(exported).decode("latin-1"), "spans arrived"
    assert "mcp.tool_failed" in server.log
    for name, output in (("log", server.log), ("metrics", metrics), ("exported", b"".join(exported).decode("latin-1"))):
        assert [line for line in output.splitlines() if CANARY in line] == [], name


async def test_nothing_that_a_caller_tells_is_in_the_store_or_comes_out_of_another_replica() -> None:
    settings = {"SECURITY__API_KEYS": KEYS, "LOGS__LEVEL": "debug"}
    with Redis() as store, overheard(store) as heard, Fleet(TARGET, size=2, store_url=store.url, settings=settings) as fleet:
        async with client() as http:
            seen = await drive(http, fleet[1].url, owner=fleet[0].url)
            metrics = [(await http.get(f"{replica.admin_url}/metrics")).text for replica in fleet.replicas]
    assert len(seen) == 3
    assert not [text for text in seen if CANARY in text], "a tool sees no credentials, at its owner neither"
    relayed = [
        float(count) for text in metrics for count in re.findall(r'moorage_relay_requests_total\{[^}]*"answered"[^}]*\} (\S+)', text)
    ]
    assert sum(relayed) > len(REQUESTS), "every request of the session was passed on"
    assert [command for command in heard if "looked" in command], "what is kept as it is can be seen here: the answer on a stream"
    for name, lines in (("store", heard), ("log", fleet.log.splitlines()), ("metrics", metrics)):
        assert [line for line in lines if CANARY in line] == [], name


LONGEST_LINE = 48 * 1024
BEGIN = "n" * 600  # more than is written of any name
CANARY_AT_THE_END = CANARY * 20


def long_names(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Every place where a caller makes up a name; none of these exists."""
    argument = {"name": "a", "value": "v"}
    return [
        ("tools/call", {"name": name}),
        ("tools/call", {"name": "look", "arguments": {name: 1}}),
        ("tools/call", {"name": "count", "arguments": {"number": 1, "by_name": {name: "x"}}}),
        ("tools/call", {"name": "explode_within", "arguments": {"secret": name}}),
        ("prompts/get", {"name": name}),
        ("prompts/get", {"name": "numbered", "arguments": {name: name}}),
        ("resources/read", {"uri": name}),
        ("resources/read", {"uri": f"memo://{name}"}),
        ("resources/read", {"uri": f"memo://user:{name}@host/it"}),
        ("resources/read", {"uri": f"counted://{name}?number={name}"}),
        ("resources/subscribe", {"uri": f"memo://{name}"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "numbered"}, "argument": argument | {"name": name}}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": name}, "argument": argument}),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": name}, "argument": argument}),
        ("logging/setLevel", {"level": name}),
        ("tools/list", {"cursor": name}),
        ("tools/list", {"_meta": {"progressToken": name, "traceparent": name, name: name}}),
        (name, {}),
    ]


@pytest.mark.parametrize("characters", [10_000, 1_000_000], ids=["as long as a header takes", "as long as a body takes"])
async def test_of_a_name_that_a_caller_makes_up_the_begin_is_written_at_most(characters: int) -> None:
    name = BEGIN + "n" * characters + CANARY_AT_THE_END
    with collector() as (endpoint, exported):
        collected = {"plain_OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "plain_OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
        async with serving("moorage", target=TARGET, LOGS__LEVEL="debug", **collected) as server, client() as http:
            session = await Legacy.begin(http, server.url)
            for method, params in long_names(name):
                await session.post({"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params})
                assert (await session.post(request(method, params, name[-200:]))).status_code == 200, method
                body, headers = modern(method, params | {"_meta": META | params.get("_meta", {})})
                if all(len(value) < 20_000 for value in headers.values()):  # the names of most messages stand in the head, too
                    assert (await http.post(f"{server.url}/mcp", json=body, headers=headers)).status_code < 500, method
            server.signal()
            await server.exit_code(20)
            await server.ended()
    assert "Unknown tool" in server.log or "Completion for argument" in server.log, "the SDK has written of it"
    assert max(map(len, server.log.splitlines())) < LONGEST_LINE
    for kind, output in (("log", server.log), ("exported", b"".join(exported).decode("latin-1"))):
        assert [line[:300] for line in output.splitlines() if CANARY_AT_THE_END in line] == [], kind

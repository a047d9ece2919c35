"""What may come in is decided by the head, in the order of its cost, and each refusal says what was wrong."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from moorage.lifecycle.phase import Lifecycle
from moorage.security.api_keys import stored_line
from tests.comparison.wire import Request, play
from tests.unit.edge.conftest import Start, error, header

pytestmark = pytest.mark.anyio

TOKEN = "moor_" + "t" * 43
OTHER = "moor_" + "u" * 43
KEYS = {"security": {"api_keys": f"{stored_line('alice', TOKEN)}\n{stored_line('bob', OTHER)}"}}


async def test_a_foreign_host_is_misdirected_before_anything_else_is_looked_at(start: Start) -> None:
    harbour = await start(**KEYS)
    assert error(await harbour.ask(headers={"host": "evil.example"})) == (
        421,
        -32600,
        "Misdirected request: this Host is not served here (security.allowed_hosts)",
    )


async def test_a_host_that_is_allowed_is_served(start: Start) -> None:
    harbour = await start(security={"allowed_hosts": ["mcp.example.com"]})
    exchange = harbour.modern("quick", {"host": "mcp.example.com"})
    await exchange.finished()
    assert exchange.status == 200


async def test_a_foreign_origin_is_forbidden_and_gets_no_cors_headers(start: Start) -> None:
    harbour = await start()
    answer = await harbour.ask(headers={"origin": "https://evil.example"})
    assert error(answer)[0] == 403
    assert header(answer, "access-control-allow-origin") is None


async def test_a_browser_of_an_allowed_origin_is_told_so_before_it_shows_a_key(start: Start) -> None:
    harbour = await start(security={**KEYS["security"], "allowed_origins": ["https://app.example.com"]})
    preflight = await harbour.ask(
        "OPTIONS",
        {
            "origin": "https://app.example.com",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, mcp-protocol-version",
        },
    )
    assert preflight.status == 204
    assert header(preflight, "access-control-allow-headers") == "authorization, mcp-protocol-version"
    assert header(preflight, "content-type") is None
    refused = await harbour.ask(headers={"origin": "https://app.example.com"})
    assert refused.status == 401
    assert header(refused, "access-control-allow-origin") == "https://app.example.com"
    assert "WWW-Authenticate" in (header(refused, "access-control-expose-headers") or "")


async def test_without_a_key_the_body_is_never_read(start: Start) -> None:
    harbour = await start(**KEYS)
    read: list[bool] = []
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        read.append(True)
        return {"type": "http.request", "body": b"", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": [(b"host", b"localhost")], "server": ("127.0.0.1", 8000)}
    await harbour.app(scope, receive, send)
    assert (sent[0]["status"], read) == (401, [])


async def test_a_key_opens_the_door(start: Start) -> None:
    harbour = await start(**KEYS)
    exchange = harbour.modern("quick", {"authorization": f"Bearer {TOKEN}"})
    await exchange.finished()
    assert exchange.status == 200


async def test_without_a_key_in_the_settings_only_loopback_is_served(start: Start) -> None:
    harbour = await start()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": [(b"host", b"localhost")], "server": ("10.0.0.5", 8000)}
    await harbour.app(scope, receive, send)
    assert sent[0]["status"] == 401
    assert b"security.allow_anonymous" in sent[1]["body"]


async def test_a_body_beyond_the_limit_is_refused_by_its_length_and_by_its_size(start: Start) -> None:
    harbour = await start(http={"max_body_bytes": 1024})
    said = await harbour.ask(headers={"content-length": "1025"})
    assert error(said)[0] == 413
    assert "1024 bytes" in error(said)[2]
    sent = harbour.open("POST", {}, b"x" * 800, b"x" * 800)
    await sent.finished()
    assert error(sent)[0] == 413
    assert header(sent, "connection") == "close"


async def test_a_body_that_stalls_is_given_up(start: Start) -> None:
    harbour = await start(http={"body_timeout_seconds": 0.1})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": [(b"host", b"localhost")], "server": ("127.0.0.1", 8000)}
    with anyio.fail_after(5):
        await harbour.app(scope, receive, send)
    assert sent[0]["status"] == 408


async def test_calls_beyond_the_limit_are_told_when_to_come_back(start: Start) -> None:
    harbour = await start(http={"max_in_flight": 1})
    first = harbour.modern("wait")
    with anyio.fail_after(5):
        await harbour.arrived.wait()
    second = harbour.modern("quick")
    await second.finished()
    assert error(second)[0] == 503
    assert header(second, "retry-after") == "1"
    harbour.release.set()
    await first.finished()
    assert first.status == 200


async def test_both_spellings_of_the_path_are_the_endpoint_and_others_are_fastapis(start: Start) -> None:
    harbour = await start()
    head = ((b"host", b"localhost"),)
    assert (await play(harbour.app, Request("PUT", "/mcp/", head, ()))).status == 405
    front = await play(harbour.app, Request("GET", "/", head, ()))
    assert json.loads(front.body)["endpoint"] == "/mcp"
    assert (await play(harbour.app, Request("GET", "/nowhere", head, ()))).status == 404


async def test_in_a_drain_answers_close_their_connection_and_sessions_begin_elsewhere(start: Start) -> None:
    harbour = await start()
    lifecycle: Lifecycle = harbour.app.state.lifecycle
    lifecycle.begin_drain()
    harbour.app.state.service.refuse_sessions()
    call = harbour.modern("quick")
    await call.finished()
    assert (call.status, header(call, "connection")) == (200, "close")
    assert error(await harbour.session())[0] == 503
    listen = harbour.modern("", method="subscriptions/listen", notifications={"toolsListChanged": True})
    await listen.finished()
    assert error(listen)[0] == 503


async def test_a_call_that_the_drain_gives_up_is_answered_with_an_error(start: Start) -> None:
    harbour = await start()
    call = harbour.modern("wait")
    with anyio.fail_after(5):
        await harbour.arrived.wait()
        await harbour.app.state.service.cancel_calls()
    await call.finished()
    assert json.loads(call.body)["error"] == {"code": -32000, "message": "The server is shutting down"}


async def test_streams_beyond_the_limit_are_refused(start: Start) -> None:
    harbour = await start(sessions={"max_streams": 1})
    listen = {"method": "subscriptions/listen", "notifications": {"toolsListChanged": True}}
    first = harbour.modern("", **listen)
    assert await first.started() == 200
    second = harbour.modern("", **listen)
    await second.finished()
    assert error(second)[0] == 503
    await harbour.app.state.service.end_streams()
    await first.finished()
    assert b'"resultType":"complete"' in first.body

"""A browser page of an allowed origin can use MCP in full; any other is told nothing."""

import pytest

from moorage.security.bounds import REMEMBERED
from moorage.security.cors import Cors
from moorage.security.hosts import OriginPolicy

APP = b"https://app.example.com"


def cors() -> Cors:
    return Cors(OriginPolicy([APP.decode()]))


def ask(**more: bytes) -> dict[bytes, bytes]:
    return {b"origin": APP, b"access-control-request-method": b"POST"} | {
        name.replace("_", "-").encode(): value for name, value in more.items()
    }


def test_a_page_can_read_what_mcp_needs() -> None:
    headers = dict(cors().headers(APP))
    assert headers[b"access-control-allow-origin"] == APP
    exposed = {name.strip().lower() for name in headers[b"access-control-expose-headers"].split(b",")}
    assert exposed >= {b"mcp-session-id", b"mcp-protocol-version", b"www-authenticate", b"retry-after"}
    assert headers[b"vary"] == b"Origin"
    assert b"access-control-allow-credentials" not in headers


@pytest.mark.parametrize("origin", [None, b"https://evil.example", b"null"])
def test_any_other_page_can_read_nothing_and_caches_know_why(origin: bytes | None) -> None:
    assert cors().headers(origin) == [(b"vary", b"Origin")]


def test_a_preflight_allows_the_headers_of_mcp_and_no_others() -> None:
    named = b"Authorization, content-type,accept, Mcp-Session-Id,MCP-Protocol-Version,mcp-param-city, Last-Event-ID,traceparent,tracestate"
    wanted = named + b", x-evil, cookie, mcp-\xff"
    status, headers = cors().preflight(ask(access_control_request_headers=wanted))
    assert status == 204
    assert dict(headers)[b"access-control-allow-headers"] == (
        b"authorization, content-type, accept, mcp-session-id, mcp-protocol-version, mcp-param-city, last-event-id, traceparent, tracestate"
    )
    assert dict(headers)[b"access-control-allow-methods"] == b"GET, POST, DELETE"
    assert dict(headers)[b"access-control-allow-origin"] == APP
    assert int(dict(headers)[b"access-control-max-age"]) > 0
    assert b"Origin" in dict(headers)[b"vary"]


def test_a_preflight_that_names_no_header_is_answered() -> None:
    assert cors().preflight(ask())[0] == 204


def test_a_preflight_of_a_foreign_page_is_refused() -> None:
    status, headers = cors().preflight(ask() | {b"origin": b"https://evil.example"})
    assert status == 403
    assert not [name for name, _ in headers if name.startswith(b"access-control")]


@pytest.mark.parametrize("missing", [b"origin", b"access-control-request-method"])
def test_what_is_no_preflight_is_told_the_methods(missing: bytes) -> None:
    asked = ask()
    del asked[missing]
    status, headers = cors().preflight(asked)
    assert status == 405
    assert dict(headers)[b"allow"] == b"GET, POST, DELETE"


def test_a_preflight_that_asks_for_ever_is_answered_shortly() -> None:
    wanted = b",".join(b"mcp-param-%d" % count for count in range(5000))
    _, headers = cors().preflight(ask(access_control_request_headers=wanted))
    assert len(dict(headers)[b"access-control-allow-headers"]) < 2000


def test_no_client_can_fill_the_memory() -> None:
    answers = Cors(OriginPolicy(["*"]))
    for count in range(REMEMBERED + 50):
        assert len(answers.headers(b"https://h%d.example" % count)) == 3
    assert len(answers._known) <= REMEMBERED

"""Host and Origin are served when they are known, and nothing that merely looks like it."""

import pytest

from moorage.security.bounds import REMEMBERED
from moorage.security.hosts import HostPolicy, OriginPolicy

ALLOWED_HOSTS = ["mcp.example.com", "Fixed.example.com:8443", "*.svc.example", "*.port.example:81", "[2001:db8::1]"]
ALLOWED_ORIGINS = ["https://app.example.com", "https://Fixed.example.com:443", "http://dev.example.com:5173"]


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"localhost:8000",
        b"127.0.0.1:1",
        b"[::1]:8000",
        b"LOCALHOST",
        b"mcp.example.com",
        b"mcp.example.com:443",
        b"MCP.Example.com:8443",
        b"mcp.example.com.",
        b" mcp.example.com ",
        b"fixed.example.com:8443",
        b"a.svc.example",
        b"a.b.svc.example:9",
        b"a.port.example:81",
        b"[2001:db8::1]:80",
    ],
)
def test_a_known_host_is_served(host: bytes) -> None:
    policy = HostPolicy(ALLOWED_HOSTS)
    assert policy.allows(host)
    assert policy.allows(host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        b"",
        b"evil.example",
        b"mcp.example.com.evil.example",
        b"xmcp.example.com",
        b"mcp.example.com@evil.example",
        b"evil.example#mcp.example.com",
        b"mcp.example.com:",
        b"mcp.example.com:80:80",
        b"mcp.example.com, evil.example",
        b"mcp.example.com/evil",
        b"fixed.example.com",
        b"fixed.example.com:8444",
        b"svc.example",
        b".svc.example",
        b"xsvc.example",
        b"evil/.svc.example",
        b"a.port.example",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"127.0.0.2",
        b"::1",
        b"[::1",
        b"localhost\n",
        b"\xff\xfe",
        b"a" * 10_000 + b".svc.example",
    ],
)
def test_any_other_host_is_refused(host: bytes | None) -> None:
    policy = HostPolicy(ALLOWED_HOSTS)
    assert not policy.allows(host)
    assert not policy.allows(host)


def test_without_a_list_only_loopback_names_are_served() -> None:
    assert HostPolicy([]).allows(b"localhost:8000")
    assert not HostPolicy([]).allows(b"mcp.example.com")


def test_an_entry_that_is_no_host_is_never_taken_for_one() -> None:
    with pytest.raises(ValueError, match="'https://a' is not a host"):
        HostPolicy(["https://a"])


def test_a_star_serves_every_host_that_is_one() -> None:
    policy = HostPolicy(["*"])
    assert policy.allows(b"anything.example:8")
    assert not policy.allows(None)
    assert not policy.allows(b"not a host")


@pytest.mark.parametrize(
    "origin",
    [
        None,
        b"https://app.example.com",
        b"https://fixed.example.com",
        b"http://dev.example.com:5173",
        b"HTTPS://APP.example.com",
        b"https://app.example.com:443",
        b"http://localhost:3000",
        b"https://127.0.0.1",
        b"http://[::1]:8080",
    ],
)
def test_a_known_origin_is_served(origin: bytes | None) -> None:
    policy = OriginPolicy(ALLOWED_ORIGINS)
    assert policy.allows(origin)
    assert policy.allows(origin)


@pytest.mark.parametrize(
    "origin",
    [
        b"",
        b"null",
        b"*",
        b"http://app.example.com",
        b"https://app.example.com:8443",
        b"https://app.example.com.evil.example",
        b"https://app.example.com@evil.example",
        b"https://app.example.com/",
        b"https://evil.example#https://app.example.com",
        b"https://app.example.com, https://evil.example",
        b"app.example.com",
        b"file://localhost",
        b"chrome-extension://localhost",
        b"http://localhost.evil.example",
        b"\xff",
    ],
)
def test_any_other_origin_is_refused(origin: bytes) -> None:
    policy = OriginPolicy(ALLOWED_ORIGINS)
    assert not policy.allows(origin)
    assert not policy.allows(origin)


def test_a_star_serves_every_origin() -> None:
    policy = OriginPolicy(["*"])
    assert policy.allows(b"null")
    assert policy.allows(b"https://evil.example")
    assert not policy.allows(b"https://" + b"a" * 10_000)


def test_no_client_can_fill_the_memory() -> None:
    hosts, origins = HostPolicy(["*"]), OriginPolicy(["*"])
    for count in range(REMEMBERED + 50):
        assert hosts.allows(b"h%d.example" % count)
        assert origins.allows(b"https://h%d.example" % count)
    assert len(hosts._known) <= REMEMBERED
    assert len(origins._known) <= REMEMBERED
    assert origins.allows(None)
    narrow = HostPolicy([])
    for count in range(REMEMBERED + 50):
        assert not narrow.allows(b"h%d.example" % count)
    assert not narrow._known

"""A store is named by one URL, every wait for it is bounded, and nothing that is said of it tells the password."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from pydantic import SecretStr, ValidationError

from moorage.errors import SettingsError
from moorage.settings import StoreSettings
from moorage.store.client import Store
from moorage.store.outage import StoreFull, StoreUnavailable
from moorage.store.url import MAX_CA_FILE_BYTES, StoreAddress, read_url
from tests.services import Redis, free_ports
from tests.unit.store.access import WITHIN, Place

pytestmark = pytest.mark.anyio

SECRET = "s3cret-of-the-store"


def settings(url: str, **more: Any) -> StoreSettings:
    return StoreSettings(url=SecretStr(url), **more)


@asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[Store]:
    store = Store(settings(url, **more))
    try:
        yield store
    finally:
        await store.close()


# Its URL


@pytest.mark.parametrize(
    ("url", "kind", "nodes", "service", "database"),
    [
        ("redis://store", "standalone", [("store", 6379)], "", 0),
        ("redis://store/", "standalone", [("store", 6379)], "", 0),
        ("redis://store:7000/3", "standalone", [("store", 7000)], "", 3),
        ("valkey://10.0.0.7:7000", "standalone", [("10.0.0.7", 7000)], "", 0),
        ("redis://[::1]", "standalone", [("::1", 6379)], "", 0),
        ("redis://[2001:db8::7]:7000/1", "standalone", [("2001:db8::7", 7000)], "", 1),
        ("redis+sentinel://a,b:7000,[::1],[::2]:7/main", "sentinel", [("a", 26379), ("b", 7000), ("::1", 26379), ("::2", 7)], "main", 0),
        ("valkey+sentinel://a/main/2", "sentinel", [("a", 26379)], "main", 2),
        ("redis+cluster://a,b:7000,[::1]:7", "cluster", [("a", 6379), ("b", 7000), ("::1", 7)], "", 0),
        ("redis+cluster://a/", "cluster", [("a", 6379)], "", 0),
    ],
)
def test_every_form_of_the_url_is_read(url: str, kind: str, nodes: list[tuple[str, int]], service: str, database: int) -> None:
    address = StoreAddress.parse(url, None)
    assert (address.kind, list(address.nodes), address.service, address.options["db"]) == (kind, nodes, service, database)
    assert "ssl" not in address.options


@pytest.mark.parametrize(
    "scheme",
    [
        "rediss",
        "valkeys",
        "redis+tls",
        "valkey+tls",
        "redis+sentinel+tls",
        "valkey+sentinel+tls",
        "redis+cluster+tls",
        "valkey+cluster+tls",
    ],
)
def test_every_form_of_tls_is_read(scheme: str) -> None:
    address = StoreAddress.parse(f"{scheme}://store/{'main' if 'sentinel' in scheme else ''}", "/ca.crt")
    assert address.options["ssl"] is True
    assert address.options["ssl_ca_certs"] == "/ca.crt"


@pytest.mark.parametrize(
    ("account", "user", "password"),
    [
        ("", None, None),
        (":word@", None, "word"),
        ("ann:word@", "ann", "word"),
        ("ann@", "ann", None),
        ("ann:@", "ann", ""),
        ("a%40b:p%3Aw%2F%40%25%23%3F@", "a@b", "p:w/@%#?"),
        ("ann:p@w:d@", "ann", "p@w:d"),
        ("ann:w%C3%B6rd%20%2B@", "ann", "wörd +"),
        ("ann:a+b@", "ann", "a+b"),
    ],
)
@pytest.mark.parametrize("form", ["redis://{}store:7/0", "redis+sentinel://{}a,b:7/main", "redis+cluster+tls://{}a,b:7"])
def test_user_and_password_may_hold_any_character(form: str, account: str, user: str | None, password: str | None) -> None:
    address = StoreAddress.parse(form.format(account), None)
    assert (address.options["username"], address.options["password"]) == (user, password)
    assert len(address.nodes) == (1 if form.startswith("redis://") else 2)


@pytest.mark.parametrize(
    "rest",
    [
        "@store:port",
        "@store:70000",
        "@:6379",
        "@[::1:6379",
        "@a,b",
        "@store/name",
        "@store/-1",
        "@store/0/1",
        "@",
        "@store,",
    ],
)
def test_a_url_that_names_no_store_is_refused_without_being_repeated(rest: str) -> None:
    with pytest.raises(SettingsError) as refused:
        StoreAddress.parse(f"redis://ann:{SECRET}{rest}", None)
    told = f"{refused.value} {refused.value.hint}"
    assert SECRET not in told
    assert "store" in told


@pytest.mark.parametrize("url", [f"redis+sentinel://:{SECRET}@a,b", f"redis+sentinel://:{SECRET}@a/", f"redis+cluster://:{SECRET}@a/1"])
def test_a_url_of_several_servers_has_to_be_whole(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        StoreAddress.parse(url, None)
    assert SECRET not in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize("url", [f"http://:{SECRET}@store", f"memcached://{SECRET}", SECRET, f"redis:{SECRET}", "redis://"])
def test_settings_refuse_what_is_no_url_of_a_store_without_repeating_it(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        StoreSettings.model_validate({"url": url})
    assert SECRET not in str(refused.value)
    with pytest.raises(SettingsError) as parsed:
        StoreAddress.parse(url, None)
    assert SECRET not in str(parsed.value)


def test_a_url_is_read_from_a_file_and_trimmed(tmp_path: Path) -> None:
    path = tmp_path / "url"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text("redis://store:7\n", encoding=encoding)
        assert read_url(StoreSettings(url_file=str(path))) == "redis://store:7"


def put(path: Path, how: str) -> None:
    """Put something in the place of a file that is no use as one."""
    match how:
        case "gone":
            pass
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "too large":
            path.write_bytes(b"#" * (MAX_CA_FILE_BYTES + 1))
        case _:
            path.write_bytes(b"redis://:\xff\xfe@store")


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("gone", "No such file or directory"),
        ("pipe", "this is no regular file"),
        ("folder", "this is no regular file"),
        ("device", "this is no regular file"),
        ("too large", "there are more than 65536 bytes"),
        ("not text", "this is not UTF-8 text"),
    ],
)
def test_a_file_of_the_url_that_is_no_use_stops_the_start_in_words(tmp_path: Path, how: str, problem: str) -> None:
    path = tmp_path / "url"
    put(path, how)
    with pytest.raises(SettingsError) as refused:
        Store(StoreSettings(url_file=str(path)))
    assert refused.value.message == f"cannot read the URL of the store in {path} (store.url_file): {problem}"
    assert refused.value.hint.startswith("What is read is ")


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("gone", "No such file or directory"),
        ("pipe", "this is no regular file"),
        ("folder", "this is no regular file"),
        ("device", "this is no regular file"),
        ("too large", "there are more than 4194304 bytes"),
        ("no certificate", "there is no certificate in PEM"),
    ],
)
def test_a_file_of_certificates_that_is_no_use_stops_the_start_in_words(tmp_path: Path, how: str, problem: str) -> None:
    path = tmp_path / "ca.crt"
    put(path, how)
    with pytest.raises(SettingsError) as refused:
        Store(settings("rediss://store", ca_file=str(path)))
    assert refused.value.message == f"cannot read the certificates of the store in {path} (store.ca_file): {problem}"


# Its answers


async def test_a_store_that_nobody_is_at_is_unavailable() -> None:
    [port] = free_ports(1)
    async with opened(f"redis://:{SECRET}@127.0.0.1:{port}") as store:
        with pytest.raises(StoreUnavailable) as refused:
            await store.run("beat", (store.key("owner", "x"),), "address", 1000)
        assert SECRET not in str(refused.value)
        with pytest.raises(StoreUnavailable):
            await store.command("EXISTS", "x")
        with pytest.raises(StoreUnavailable):
            await store.eviction_policy()


async def test_a_store_that_accepts_and_never_answers_is_unavailable_within_its_time() -> None:
    met = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with server, opened(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_seconds=0.2) as store:
        with anyio.fail_after(WITHIN):
            for ask in (store.run("beat", ("x",), "a", 1000), store.command("EXISTS", "x"), store.eviction_policy()):
                with pytest.raises(StoreUnavailable):
                    await ask
    assert met.is_set()


async def test_a_store_that_is_paused_in_between_is_unavailable_and_then_serves_again() -> None:
    with Redis() as server:
        async with opened(server.url, timeout_seconds=0.3) as store:
            assert await store.command("EXISTS", "x") == 0
            server.signal(signal.SIGSTOP)
            with anyio.fail_after(WITHIN), pytest.raises(StoreUnavailable):
                await store.command("EXISTS", "x")
            server.signal(signal.SIGCONT)
            await anyio.to_thread.run_sync(server.wait_until, server.answers, "answering")
            assert await store.command("EXISTS", "x") == 0


async def test_after_a_restart_every_connection_is_made_anew_without_a_failure(place: Place) -> None:
    with Redis() as server:
        async with opened(server.url) as store:
            await asyncio.gather(*(store.command("EXISTS", "x") for _ in range(8)))
            await anyio.to_thread.run_sync(lambda: server.restart(keep_data=False))
            assert await asyncio.gather(*(store.command("EXISTS", "x") for _ in range(8))) == [0] * 8


async def test_a_script_that_the_store_forgot_is_sent_again(place: Place, prefix: str) -> None:
    async with opened(place.url, prefix=prefix) as store:
        for _ in range(2):
            place.servers[0].script_flush()
            assert await store.run("beat", (store.key("owner", "x"),), "address", 1000)


async def test_a_wrong_password_is_an_outage_that_does_not_tell_it() -> None:
    with Redis(password="right") as server:
        async with opened(f"redis://:{SECRET}@127.0.0.1:{server.port}") as store:
            with pytest.raises(StoreUnavailable) as refused:
                await store.command("EXISTS", "x")
            assert SECRET not in str(refused.value)


@pytest.mark.parametrize("word", ["p:w/@%#?", "wörd +"])
async def test_a_password_of_any_characters_opens_the_store(word: str) -> None:
    with Redis() as server:
        with server.client() as client:
            client.acl_setuser("ann", enabled=True, passwords=[f"+{word}"], keys=["*"], channels=["*"], commands=["+@all"])
        async with opened(f"redis://ann:{quote(word, safe='')}@127.0.0.1:{server.port}") as store:
            assert await store.command("EXISTS", "x") == 0
            assert await store.run("beat", (store.key("owner", "x"),), "address", 1000)


async def test_more_calls_at_once_than_there_are_connections_all_get_their_answer(place: Place, prefix: str) -> None:
    async with opened(place.url, prefix=prefix) as store:
        answers = await asyncio.gather(*(store.run("beat", (store.key("owner", str(n)),), "a", 1000) for n in range(300)))
    assert len([answer for answer in answers if answer > 0]) == 300


async def test_a_store_says_what_it_does_when_it_is_full(place: Place) -> None:
    async with opened(place.url) as store:
        assert await store.eviction_policy() == "noeviction"
    with Redis(maxmemory="64mb", maxmemory_policy="allkeys-lru") as server:
        async with opened(server.url) as store:
            assert await store.eviction_policy() == "allkeys-lru"


async def test_a_full_store_is_told_from_one_that_is_out(prefix: str) -> None:
    with Redis(maxmemory="3mb", options=["maxmemory-clients 0"]) as server:
        async with opened(server.url, prefix=prefix) as store:
            notice = (1, "tools", "x" * 100_000, 4096, 60_000)
            fill = asyncio.gather(*(store.run("publish", (f"{prefix}:bus",), *notice) for _ in range(100)))
            with pytest.raises(StoreFull):
                await fill
            assert store.full
            await store.run("beat", (store.key("owner", "me"),), "entry", 60_000)  # what keeps sessions alive works
            with server.client() as client:
                client.config_set("maxmemory", "64mb")
            await store.run("publish", (f"{prefix}:bus",), *notice)
            assert not store.full


async def test_names_in_braces_decide_the_slot(place: Place) -> None:
    async with opened(place.url, prefix="p") as store:
        assert store.key("s", "tag") == "p:2:s:{tag}"
        assert store.key("l", "tag") == "p:2:l:{tag}"

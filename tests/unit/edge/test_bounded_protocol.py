"""The head of a request is bounded and tidied before the app hears of it; spoken to over real sockets."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import orjson
import pytest

from moorage.edge.http import BoundedProtocol, bounded_protocol
from tests.unit.edge.speaking import Served, get, served

pytestmark = pytest.mark.anyio


@pytest.fixture
async def small() -> AsyncIterator[Served]:
    """A server with small limits."""
    async with served(bounded_protocol(max_header_bytes=1000, max_headers=10)) as it:
        yield it


@pytest.fixture
async def hasty() -> AsyncIterator[Served]:
    """A server that waits for a head for a moment only."""
    async with served(type("Hasty", (BoundedProtocol,), {"head_timeout_seconds": 0.05})) as it:
        yield it


async def test_a_request_within_the_limits_is_served(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(get("x-a: " + "a" * 900, body="hello"))
        status, _, body = await peer.response()
    assert status == 200
    assert orjson.loads(body)["body"] == "hello"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(get("x-a: " + "a" * 1000), id="one long field"),
        pytest.param(get(*[f"x-{n}: {'a' * 150}" for n in range(8)]), id="long in sum"),
        pytest.param(get(*[f"x-{n}: a" for n in range(10)]), id="too many fields"),
        pytest.param(get("x" * 1000 + ": a"), id="long name"),
    ],
)
async def test_a_head_beyond_the_limits_is_answered_431_and_the_connection_closes(small: Served, head: bytes) -> None:
    async with small.connect() as peer:
        await peer.send(head)
        status, headers, body = await peer.response()
        assert (status, headers["connection"]) == (431, "close")
        assert b"1000 bytes or more than 10 fields" in body
        assert await peer.ended()
    assert small.app.requests == []


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nx-a: ", b"GET / HTTP/1.1\r\nx"])
async def test_a_field_that_never_ends_is_cut_off_long_before_memory_is(small: Served, start: bytes) -> None:
    async with small.connect() as peer:
        await peer.send(start)
        for _ in range(200):
            await peer.send(b"a" * 1000)
            await asyncio.sleep(0)
        assert (await peer.response())[0] == 431
        assert await peer.ended()


async def test_a_refused_sender_reads_its_answer_though_it_was_still_sending(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: a\r\n" % n for n in range(30_000)) + b"\r\n")
        assert (await peer.response())[0] == 431


async def test_a_trailer_that_never_ends_is_cut_off(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: ")
        for _ in range(200):
            await peer.send(b"a" * 1000)
            await asyncio.sleep(0)
        assert (await peer.response())[0] == 431
        with anyio.fail_after(5):
            await small.app.disconnected.wait()


async def test_a_request_line_that_is_too_long_is_answered_414(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(get(target="/" + "a" * 8192))
        status, _, body = await peer.response()
    assert status == 414
    assert b"8192 bytes" in body


async def test_what_is_not_http_is_answered_400_in_words(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        status, _, body = await peer.response()
        assert (status, body) == (400, b"the request is not well-formed HTTP/1.1\n")
        assert await peer.ended()


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(("content-length: 5", "transfer-encoding: chunked"), id="two framings"),
        pytest.param(("content-length: 5", "content-length: 6"), id="two lengths"),
        pytest.param(("content-length: +5",), id="signed length"),
        pytest.param(("x-a : b",), id="space before the colon"),
        pytest.param(("x-a: b\r\n c",), id="folded field"),
    ],
)
async def test_a_head_that_two_readers_could_read_differently_is_refused(small: Served, fields: tuple[str, ...]) -> None:
    async with small.connect() as peer:
        await peer.send(get(*fields))
        assert (await peer.response())[0] == 400
    assert small.app.requests == []


SECRET = "Bearer " + "s" * 40


@pytest.mark.parametrize("target", ["/", "http://x/"])
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(("host: x",), id="the same host"),
        pytest.param(("host: y",), id="another host"),
        pytest.param(("HOST: y",), id="another host in capitals"),
        pytest.param(("host:",), id="an empty host"),
        pytest.param((f"authorization: {SECRET}", f"authorization: {SECRET}"), id="the same key"),
        pytest.param((f"authorization: {SECRET}", "x-a: b", "Authorization: Bearer other"), id="another key"),
        pytest.param(("authorization:", f"authorization: {SECRET}"), id="a key behind none"),
    ],
)
@pytest.mark.parametrize("body", ["", "hello"])
async def test_of_two_hosts_or_two_keys_none_is_believed(small: Served, fields: tuple[str, ...], target: str, body: str) -> None:
    async with small.connect() as peer:
        await peer.send(get(*fields, target=target, body=body))
        status, headers, words = await peer.response()
        assert (status, headers["connection"]) == (400, "close")
        assert b"more than one" in words
        assert await peer.ended()
    assert small.app.requests == []


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET / HTTP/3.0\r\nhost: x\r\n\r\n", id="HTTP 3.0"),
        pytest.param(b"GET / FTP/1.1\r\nhost: x\r\n\r\n", id="another protocol"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP 2 preface"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", id="HTTP 2 preface and settings"),
        pytest.param(b"BREW / HTTP/1.1\r\nhost: x\r\n\r\n", id="unknown method"),
        pytest.param(b"get / HTTP/1.1\r\nhost: x\r\n\r\n", id="method in small letters"),
        pytest.param(get("x-\0a: b"), id="NUL in a name"),
        pytest.param(get("x-a: b\0c"), id="NUL in a value"),
        pytest.param(get("x-a: b\rc"), id="bare CR in a value"),
        pytest.param(get("x-\ra: b"), id="bare CR in a name"),
        pytest.param(get("x-\na: b"), id="bare LF in a name"),
        pytest.param(get("x-a: b\nc"), id="bare LF in a value"),
        pytest.param(get("x-a: b\nx-c: d"), id="a field behind a bare LF"),
        pytest.param(get("x-a: b\x01c"), id="control character in a value"),
        pytest.param(get("x a: b"), id="space in a name"),
        pytest.param(get(": b"), id="no name"),
        pytest.param(get("x-a"), id="no colon"),
        pytest.param(get("x-\x7f: b"), id="DEL in a name"),
        pytest.param(get(target="/\0"), id="NUL in the target"),
        pytest.param(get(target="/\r"), id="CR in the target"),
        pytest.param(get(target="/a b"), id="space in the target"),
        pytest.param(get(target="x"), id="target without a slash"),
    ],
)
async def test_what_is_not_well_formed_is_refused_in_words(small: Served, sent: bytes) -> None:
    async with small.connect() as peer:
        await peer.send(sent)
        status, headers, words = await peer.response()
        assert (status, headers["connection"]) == (400, "close")
        assert words.endswith(b"\n")
        assert await peer.ended()
    assert small.app.requests == []


@pytest.mark.parametrize(("line", "version"), [("GET /", "0.9"), ("GET / HTTP/0.9", "0.9"), ("GET / HTTP/2.0", "2.0")])
async def test_another_version_of_http_is_refused_by_its_name(small: Served, line: str, version: str) -> None:
    async with small.connect() as peer:
        await peer.send(f"{line}\r\nhost: x\r\n\r\n".encode())
        status, headers, words = await peer.response()
        assert (status, headers["connection"]) == (400, "close")
        assert f"HTTP/{version} is not spoken here, only its versions 1.0 and 1.1" in words.decode()
        assert await peer.ended()
    assert small.app.requests == []


async def test_behind_another_request_another_version_of_http_is_not_served(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(get() + b"GET / HTTP/2.0\r\nhost: x\r\n\r\n")
        assert (await peer.response())[0] == 200
        assert await peer.ended()
    assert len(small.app.requests) == 1


async def test_what_is_odd_and_cannot_be_misread_is_served(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(get("x-a: \xe9"))
        assert (await peer.response())[0] == 200


async def test_whitespace_around_a_value_is_trimmed_and_inside_it_kept(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(get("x-a: \t  one  two \t ", "x-b:three", "x-c:  "))
        _, _, body = await peer.response()
    assert orjson.loads(body)["headers"] == [["host", "x"], ["x-a", "one  two"], ["x-b", "three"], ["x-c", ""]]


async def test_a_trailer_adds_nothing_to_the_request(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nauthorization: Bearer x\r\n\r\n")
        _, _, body = await peer.response()
    assert orjson.loads(body) == {"path": "/", "headers": [["host", "x"], ["transfer-encoding", "chunked"]], "body": "hi"}


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
async def test_a_request_to_upgrade_is_served_as_if_it_had_not_asked(small: Served, protocol: str) -> None:
    request = get("connection: upgrade", f"upgrade: {protocol}", body="hello")
    async with small.connect() as peer:
        await peer.send(request)
        assert orjson.loads((await peer.response())[2])["body"] == "hello"
        await peer.send(request + get(target="/next"))
        assert orjson.loads((await peer.response())[2])["body"] == "hello"
        assert orjson.loads((await peer.response())[2])["path"] == "/next"


async def test_a_body_behind_a_request_to_upgrade_is_never_taken_for_another_request(small: Served) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\ntransfer-encoding: chunked\r\n\r\n"
    smuggled = get(target="/smuggled")
    async with small.connect() as peer:
        await peer.send(head)
        for part in (b"%x\r\n" % len(smuggled), smuggled, b"\r\n0\r\n\r\n"):
            await peer.send(part)
            await asyncio.sleep(0)
        assert orjson.loads((await peer.response())[2])["body"] == smuggled.decode()
        await peer.send(get(target="/next"))
        assert orjson.loads((await peer.response())[2])["path"] == "/next"
    assert [request["path"] for request in small.app.requests] == ["/", "/next"]


async def test_nobody_is_connected_to_somewhere_else(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n")
        assert (await peer.response())[0] == 400


async def test_pipelined_requests_are_answered_in_order(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(get(target="/1") + get(target="/2", body="two") + get(target="/3"))
        assert [orjson.loads((await peer.response())[2])["path"] for _ in range(3)] == ["/1", "/2", "/3"]


async def test_a_bad_request_behind_a_good_one_does_not_spoil_its_answer(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(get(target="/slow") + get("x-a: " + "a" * 2000))
        small.app.go_on.set()
        status, headers, body = await peer.response()
        assert (status, headers["connection"], orjson.loads(body)["path"]) == (200, "close", "/slow")
        assert await peer.ended()


async def test_a_body_that_is_not_well_formed_is_answered_400_and_the_app_is_told_that_nobody_listens(small: Served) -> None:
    async with small.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nnonsense\r\n")
        assert (await peer.response())[0] == 400
        assert await peer.ended()
    with anyio.fail_after(5):
        await small.app.disconnected.wait()


async def test_a_head_that_trickles_in_is_cut_off_with_408(hasty: Served) -> None:
    async with hasty.connect() as peer:
        await peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n")
        status, headers, _ = await peer.response()
        assert (status, headers["connection"]) == (408, "close")
        assert await peer.ended()


async def test_a_later_head_that_trickles_in_is_cut_off_too(hasty: Served) -> None:
    async with hasty.connect() as peer:
        await peer.send(get())
        assert (await peer.response())[0] == 200
        await peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n")
        assert (await peer.response())[0] == 408


async def test_a_connection_on_which_nothing_is_asked_is_closed(hasty: Served) -> None:
    async with hasty.connect() as peer:
        assert await peer.ended()


async def test_an_answer_may_take_longer_than_a_head(hasty: Served) -> None:
    async with hasty.connect() as peer, hasty.connect() as silent:
        await peer.send(get(target="/slow"))
        assert await silent.ended()  # it connected later and its time is up
        hasty.app.go_on.set()
        assert (await peer.response())[0] == 200


async def test_line_ends_between_requests_do_not_keep_a_connection_for_ever() -> None:
    async with served(type("Idle", (BoundedProtocol,), {})) as it, it.connect() as peer:
        await peer.send(get(target="/early"))
        assert (await peer.response())[0] == 200
        await peer.send(b"\r\n")
        await peer.send(get())
        assert (await peer.response())[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(get("expect: foo"), 417, id="another expectation"),
        pytest.param(get("expect: 100-continue, foo"), 417, id="one more expectation"),
        pytest.param(get("Expect: 100-Continue"), 100, id="the expectation that is met"),
        pytest.param(get("content-encoding: gzip", body="x"), 415, id="gzip"),
        pytest.param(get("content-encoding: identity", body="x"), 200, id="identity"),
        pytest.param(get("transfer-encoding: gzip, chunked"), 501, id="a transfer encoding"),
        pytest.param(get(target="http://elsewhere.example/"), 421, id="absolute target of another host"),
        pytest.param(get(target="http://x@elsewhere.example/"), 421, id="absolute target with user information"),
        pytest.param(get(target="http://x/"), 200, id="absolute target of this host"),
    ],
)
async def test_what_would_change_the_meaning_of_a_request_is_refused_in_words(small: Served, request_: bytes, status: int) -> None:
    async with small.connect() as peer:
        await peer.send(request_)
        assert (await peer.response())[0] == status
    assert bool(small.app.requests) is (status < 400)

"""`moorage.client.connect` against real servers, in both protocol eras, and against servers that answer badly."""

import json
import logging
import socket
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from moorage.client import (
    CallTimeoutError,
    ClientError,
    ProtocolError,
    RefusedError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
    connect,
)
from moorage.client.http import as_client_error
from tests.unit.client.conftest import Serve, serving
from tests.unit.client.harbour import TOKEN, app

pytestmark = pytest.mark.anyio

ERAS = pytest.mark.parametrize(("mode", "revision"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def refusing(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Any:
    """An application that answers everything with one refusal."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    return answer


@ERAS
async def test_a_session_lists_and_calls_tools_in_the_era_that_both_sides_speak(serve: Serve, mode: str, revision: str) -> None:
    with anyio.fail_after(20):
        async with connect(serve(app()), mode=mode) as session:
            assert session.protocol_version == revision
            assert "add" in [tool.name for tool in await session.list_tools()]
            assert (await session.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}


@ERAS
async def test_progress_arrives_in_order_and_whole_before_the_result(serve: Serve, mode: str, revision: str) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def watch(progress: float, total: float | None, message: str | None) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append((progress, total, message))

    with anyio.fail_after(20):
        async with connect(serve(app()), mode=mode) as session:
            await session.call_tool("sound", {"place": "pier"}, on_progress=watch)
            assert seen == [(1, 3, "sounding 1"), (2, 3, "sounding 2"), (3, 3, "sounding 3")]


@ERAS
@pytest.mark.parametrize(("answer", "outcome"), [({"accept": True}, "under way"), ({"accept": False}, "still moored")])
async def test_a_tool_that_asks_gets_the_answer(serve: Serve, mode: str, revision: str, answer: dict[str, Any], outcome: str) -> None:
    asked: list[str] = []

    async def reply(message: str, schema: dict[str, Any]) -> dict[str, Any]:
        assert list(schema["properties"]) == ["accept"]
        asked.append(message)
        return answer

    with anyio.fail_after(20):
        async with connect(serve(app()), mode=mode, on_question=reply) as session:
            result = await session.call_tool("cast_off")
            assert result.structured_content == {"result": outcome}
            assert asked == ["Cast off?"]


@ERAS
async def test_a_declined_question_is_the_tools_failure(serve: Serve, mode: str, revision: str) -> None:
    async def decline(message: str, schema: dict[str, Any]) -> None:
        return None

    with anyio.fail_after(20):
        async with connect(serve(app()), mode=mode, on_question=decline) as session:
            assert (await session.call_tool("cast_off")).is_error


async def test_a_tools_own_failure_is_a_result(serve: Serve) -> None:
    with anyio.fail_after(20):
        async with connect(serve(app())) as session:
            result = await session.call_tool("run_aground")
            assert result.is_error
            assert isinstance(result.content[0], types.TextContent)
            assert "the keel hit the ground" in result.content[0].text


@ERAS
async def test_a_call_that_takes_too_long_ends_at_its_deadline_and_the_session_lives_on(serve: Serve, mode: str, revision: str) -> None:
    with anyio.fail_after(20):
        async with connect(serve(app()), mode=mode) as session:
            with pytest.raises(CallTimeoutError, match=r"did not answer within 0\.2 s"):
                await session.call_tool("wait_for_wind", timeout_seconds=0.2)
            assert not (await session.call_tool("add", {"a": 1, "b": 2})).is_error


async def test_the_key_travels_as_a_bearer_token(serve: Serve) -> None:
    with anyio.fail_after(20):
        async with connect(serve(app(token=TOKEN)), token=TOKEN) as session:
            assert not (await session.call_tool("add", {"a": 1, "b": 2})).is_error


@ERAS
async def test_a_refused_key_is_named_as_such_and_never_shown(
    serve: Serve, mode: str, revision: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with anyio.fail_after(20), pytest.raises(UnauthorizedError, match=r"HTTP 401.*a key is needed") as caught:
        async with connect(serve(app(token=TOKEN)), token="moor_wrong-key", mode=mode):
            pytest.fail("the session opened")
    assert caught.value.status == 401
    assert "moor_wrong-key" not in f"{caught.value!r} {caplog.text}"


@pytest.mark.parametrize("token", ["", " ", "two\nlines", "nul\x00", "umläut"])
async def test_a_token_that_cannot_be_a_key_is_refused_before_anything_is_sent(token: str) -> None:
    with pytest.raises(ClientError, match="the token is empty or holds characters"):
        async with connect("http://127.0.0.1:1/mcp", token=token):
            pytest.fail("the session opened")


@pytest.mark.parametrize("url", ["", "localhost:8000/mcp", "ftp://localhost/mcp"])
async def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="is not the URL of an MCP server"):
        async with connect(url):
            pytest.fail("the session opened")


@ERAS
async def test_a_server_that_is_not_there_is_unreachable(mode: str, revision: str) -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp"
    with anyio.fail_after(20), pytest.raises(UnreachableError, match=f"{url} cannot be reached") as caught:
        async with connect(url, mode=mode):
            pytest.fail("the session opened")
    assert caught.value.retryable


async def test_a_path_without_an_endpoint_says_where_the_endpoint_usually_is(serve: Serve) -> None:
    url = serve(app()).removesuffix("/mcp") + "/elsewhere"
    with anyio.fail_after(20), pytest.raises(ProtocolError, match=r"is no MCP endpoint .*the path is usually /mcp"):
        async with connect(url):
            pytest.fail("the session opened")


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, UnauthorizedError, "does not allow this"),
        (413, RefusedError, "refused the request"),
        (421, RefusedError, "allowed_hosts"),
        (429, UnavailableError, "cannot serve now"),
        (502, UnavailableError, "cannot serve now"),
        (503, UnavailableError, "cannot serve now"),
    ],
)
async def test_each_refusal_has_its_error(serve: Serve, status: int, kind: type[RefusedError], words: str) -> None:
    url = serve(refusing(status, b"<html>from a proxy</html>", {"retry-after": "7", "content-type": "text/html"}))
    with anyio.fail_after(20), pytest.raises(kind, match=f"{words}.*") as caught:
        async with connect(url):
            pytest.fail("the session opened")
    assert (caught.value.status, type(caught.value)) == (status, kind)
    assert "html" not in caught.value.message
    if isinstance(caught.value, UnavailableError):
        assert (caught.value.retry_after_seconds, caught.value.retryable) == (7.0, True)


async def test_what_a_session_is_refused_for_the_moment_may_be_tried_again() -> None:
    refused = MCPError(code=-32012, message="Too many calls", data={"reason": "calls_share", "retryAfterSeconds": 3})
    error = as_client_error(refused, "http://here/mcp", 1.0)
    assert isinstance(error, UnavailableError)
    assert (error.retryable, error.retry_after_seconds, error.message) == (True, 3.0, "http://here/mcp cannot serve now: Too many calls")


async def test_an_outage_costs_one_call_and_not_the_session() -> None:
    """The server goes away between two calls and comes back: a stateless session goes on where it was."""
    port = free_port()
    with anyio.fail_after(30):
        async with _Harbour(port):
            connection = connect(f"http://127.0.0.1:{port}/mcp", mode="2026-07-28")
            session = await connection.__aenter__()
            assert not (await session.call_tool("add", {"a": 1, "b": 2})).is_error
        with pytest.raises(UnreachableError):
            await session.call_tool("add", {"a": 1, "b": 2})
        async with _Harbour(port):
            assert not (await session.call_tool("add", {"a": 1, "b": 2})).is_error
            await connection.__aexit__(None, None, None)


@pytest.mark.parametrize(
    ("content_type", "words"), [("text/event-stream", "before the answer was complete"), ("application/json", "connection was lost")]
)
async def test_an_answer_that_is_cut_is_an_unreachable_server(content_type: str, words: str) -> None:
    async def cut(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            while b"\r\n\r\n" not in (await stream.receive()):
                pass
            await stream.send(f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: 999\r\n\r\nevent: ".encode())

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, cut)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        with anyio.fail_after(20), pytest.raises(UnreachableError, match=words):
            async with connect(f"http://127.0.0.1:{port}/mcp"):
                pytest.fail("the session opened")
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("error", [ValueError("mine"), ExceptionGroup("mine", [ValueError("inside")])])
async def test_what_the_body_raises_leaves_as_it_came(serve: Serve, error: Exception) -> None:
    with anyio.fail_after(20), pytest.raises(type(error)) as caught:
        async with connect(serve(app())):
            raise error
    assert caught.value is error


async def test_a_progress_callback_that_fails_ends_the_call_with_its_own_error(serve: Serve) -> None:
    async def broken(progress: float, total: float | None, message: str | None) -> None:
        raise KeyError("callback")

    with anyio.fail_after(20):
        async with connect(serve(app())) as session:
            with pytest.raises(KeyError, match="callback"):
                await session.call_tool("sound", {"place": "pier"}, on_progress=broken)
            assert not (await session.call_tool("add", {"a": 1, "b": 2})).is_error


async def test_a_question_that_needs_a_browser_is_declined(serve: Serve) -> None:
    async def never(message: str, schema: dict[str, Any]) -> None:
        pytest.fail("a form was asked for")

    with anyio.fail_after(20):
        async with connect(serve(app()), mode="legacy", on_question=never) as session:
            assert (await session.call_tool("sign_the_log")).structured_content == {"result": "decline"}


async def test_a_server_that_never_stops_asking_is_given_up(serve: Serve) -> None:
    async def reply(message: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"accept": True}

    with anyio.fail_after(20):
        async with connect(serve(app()), on_question=reply) as session:
            with pytest.raises(ClientError, match="insist: the server kept asking questions"):
                await session.call_tool("insist")


async def test_a_list_that_cannot_be_fetched_says_why(serve: Serve) -> None:
    with anyio.fail_after(20):
        async with connect(serve(refusing(503)), mode="2026-07-28") as session:
            with pytest.raises(UnavailableError, match="cannot serve now"):
                await session.list_tools()


async def test_tools_are_fetched_page_by_page(serve: Serve) -> None:
    with anyio.fail_after(20):
        async with connect(serve(_paged(pages=3))) as session:
            assert [tool.name for tool in await session.list_tools()] == ["tool-0", "tool-1", "tool-2"]


async def test_a_list_that_never_ends_is_given_up(serve: Serve) -> None:
    with anyio.fail_after(20):
        async with connect(serve(_paged(pages=None))) as session:
            with pytest.raises(ClientError, match="did not end after 100 pages"):
                await session.list_tools()


def _paged(pages: int | None) -> Any:
    """A modern server whose tools come one a page."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request = json.loads((await receive())["body"])
        if request["method"] == "server/discover":
            result = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private"}
        else:
            page = int(request["params"].get("cursor") or 0)
            result = {"tools": [{"name": f"tool-{page}", "inputSchema": {"type": "object"}}], "ttlMs": 0, "cacheScope": "private"}
            if pages is None or page + 1 < pages:
                result["nextCursor"] = str(page + 1)
        body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {"resultType": "complete", **result}}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    return answer


class _Harbour:
    """The harbour on a port of the caller's choice, in a thread, for as long as the block lasts."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> None:
        self.serving = serving(app(), self.port)
        await anyio.to_thread.run_sync(self.serving.__enter__)

    async def __aexit__(self, *exc: object) -> None:
        await anyio.to_thread.run_sync(self.serving.__exit__, None, None, None)

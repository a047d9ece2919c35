"""examples/search, served by moorage, against a local server that speaks Tavily's HTTP API."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest

from moorage.client import Session, connect
from tests.integration.example_servers import free_ports, served
from tests.integration.tavily import KEY, Tavily, tavily_api

pytestmark = pytest.mark.anyio

TARGET = "examples/search/server.py"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def tavily_server() -> Iterator[Tavily]:
    with tavily_api() as tavily:
        yield tavily


@pytest.fixture
def tavily(tavily_server: Tavily) -> Tavily:
    tavily_server.reset()
    return tavily_server


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secret") / "tavily"


@pytest.fixture(scope="module")
def url(tavily_server: Tavily, key_file: Path) -> Iterator[str]:
    environ = {"TAVILY_API_KEY_FILE": str(key_file), "TAVILY_BASE_URL": tavily_server.url, "SEARCH_TIMEOUT_SECONDS": "2"}
    with served(TARGET, environ) as url:
        yield url


@pytest.fixture(params=["auto", "legacy"])
async def session(url: str, key_file: Path, request: pytest.FixtureRequest) -> Any:
    key_file.write_text(f"{KEY}\n")
    async with connect(url, mode=request.param) as session:
        yield session


def text(result: types.CallToolResult) -> str:
    assert isinstance(result.content[0], types.TextContent)
    return result.content[0].text


async def failure(session: Session, **arguments: Any) -> str:
    """The text of the error that a search ends with."""
    with anyio.fail_after(30):
        result = await session.call_tool("web_search", {"query": "tides", **arguments})
    assert result.is_error, result
    assert KEY not in str(result)
    return text(result)


async def test_a_search_returns_its_pages_best_first(session: Session, tavily: Tavily) -> None:
    with anyio.fail_after(30):
        result = await session.call_tool("web_search", {"query": "tides", "topic": "news", "max_results": 3})
    assert result.structured_content == {
        "results": [
            {"title": "tides 0", "url": "https://tides.example/0", "snippet": "text", "score": 1.0, "query": "tides"},
            {"title": "tides 1", "url": "https://tides.example/1", "snippet": "text", "score": 0.5, "query": "tides"},
            {"title": "everywhere", "url": "https://everywhere.example", "snippet": "text", "score": 0.1, "query": "tides"},
        ],
        "failed": [],
    }
    assert [(search["query"], search["topic"], search["max_results"]) for search in tavily.searches] == [("tides", "news", 3)]


async def test_pages_are_reported_while_other_facets_are_still_searched(session: Session, tavily: Tavily) -> None:
    """The slow facet is answered only after the pages of the quick one were seen: they cannot have waited for it."""
    slow = tavily.hold["tides history"] = threading.Event()
    reported: list[str] = []

    async def watch(progress: float, total: float | None, message: str | None) -> None:
        reported.append(str(message))
        assert progress == len(reported)
        if len(reported) == 3:
            slow.set()

    with anyio.fail_after(30):
        result = await session.call_tool("web_search", {"query": "tides", "facets": ["history"]}, on_progress=watch)
    assert reported[:3] == [
        "tides 0 <https://tides.example/0>",
        "tides 1 <https://tides.example/1>",
        "everywhere <https://everywhere.example>",
    ]
    assert reported[3:] == ["tides history 0 <https://tides-history.example/0>", "tides history 1 <https://tides-history.example/1>"]
    assert result.structured_content is not None
    assert len(result.structured_content["results"]) == 5
    assert result.structured_content["failed"] == []


async def test_one_facet_that_fails_does_not_hide_the_others(session: Session, tavily: Tavily) -> None:
    tavily.statuses["tides history"] = 432
    with anyio.fail_after(30):
        result = await session.call_tool("web_search", {"query": "tides", "facets": ["history", "history"]})
    assert result.structured_content is not None
    assert len(result.structured_content["results"]) == 3
    assert result.structured_content["failed"] == [{"query": "tides history", "reason": "the quota of this Tavily plan is used up"}]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "did not understand the search"),
        (403, "may not search"),
        (429, "too many searches"),
        (432, "the quota of this Tavily plan is used up"),
        (433, "pay-as-you-go limit"),
        (500, "Tavily failed (HTTP 500)"),
    ],
)
async def test_each_refusal_of_tavily_is_a_tool_error_in_our_words(session: Session, tavily: Tavily, status: int, words: str) -> None:
    tavily.statuses["tides"] = status
    assert words in await failure(session)


async def test_a_bad_key_is_named_and_a_rotated_one_works_without_a_restart(session: Session, tavily: Tavily, key_file: Path) -> None:
    key_file.write_text("tvly-expired")
    message = await failure(session)
    assert "does not accept the API key" in message
    assert "tvly-expired" not in message
    key_file.write_text(KEY)
    with anyio.fail_after(30):
        assert not (await session.call_tool("web_search", {"query": "tides"})).is_error


@pytest.mark.parametrize(
    ("content", "words"), [(b"\n", "is empty"), (b"\xff\xfe", "cannot be read"), (b"two\nlines", "characters that no key has")]
)
async def test_a_file_that_holds_no_key_is_named(session: Session, tavily: Tavily, key_file: Path, content: bytes, words: str) -> None:
    key_file.write_bytes(content)
    assert words in await failure(session)
    assert tavily.searches == []


async def test_a_file_that_is_not_there_is_named(session: Session, tavily: Tavily, key_file: Path) -> None:
    key_file.unlink()
    assert f"cannot be read from TAVILY_API_KEY_FILE={key_file}" in await failure(session)


async def test_a_search_that_takes_too_long_is_a_tool_error(session: Session, tavily: Tavily) -> None:
    held = tavily.hold["tides"] = threading.Event()
    try:
        assert "did not answer within 2 s" in await failure(session)
    finally:
        held.set()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"results":[{}]}', b'{"results":7}'])
async def test_an_answer_that_is_no_list_of_results_is_a_tool_error(session: Session, tavily: Tavily, body: bytes) -> None:
    tavily.raw = body
    assert "not a list of results" in await failure(session)


async def test_bad_arguments_never_reach_tavily(session: Session, tavily: Tavily) -> None:
    assert "max_results" in await failure(session, max_results=0)
    assert "facets" in await failure(session, facets=["a", "b", "c", "d", "e"])
    assert tavily.searches == []


async def test_without_any_key_the_tool_says_where_to_put_one(tavily: Tavily) -> None:
    environ = {"TAVILY_API_KEY_FILE": "", "TAVILY_API_KEY": "", "TAVILY_BASE_URL": tavily.url}
    with served(TARGET, environ) as url:
        async with connect(url) as session:
            assert "set TAVILY_API_KEY_FILE to a file that holds it, or TAVILY_API_KEY" in await failure(session)
    assert tavily.searches == []


async def test_the_key_may_stand_in_the_environment_and_an_absent_tavily_is_a_tool_error() -> None:
    environ = {"TAVILY_API_KEY": KEY, "TAVILY_BASE_URL": f"http://127.0.0.1:{free_ports(1)[0]}"}
    with served(TARGET, environ) as url:
        async with connect(url) as session:
            assert "Tavily cannot be reached (ConnectError)" in await failure(session)

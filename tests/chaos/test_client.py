"""The recorder against one real process without a store: what it sees there is whole, and a cut is seen as a cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.client import Client, Cut
from tests.chaos.history import JOURNAL_VARIABLE, Begun, History
from tests.chaos.wire import Address, Event, parse_event
from tests.services.fleet import Fleet

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal")


@pytest.fixture(scope="module")
async def addresses(journal: Path) -> AsyncIterator[list[Address]]:
    async with Fleet("tests.chaos.tools:mcp", size=1, variables={JOURNAL_VARIABLE: str(journal)}) as fleet:
        yield [Address("127.0.0.1", fleet[0].port)]


async def test_calls_of_every_kind_leave_a_history_without_findings(addresses: list[Address], journal: Path) -> None:
    history = History()
    async with Client("a", addresses, history, seed=1) as one, Client("b", addresses, history, seed=1) as other:
        await one.listen()
        await other.listen()
        await asyncio.gather(*(client.call(tool, 5) for client in (one, other) for tool in ("append", "append_once", "notify", "ask")))
        await one.call("append", 1, pad=100_000)
    history.read_journals(journal)
    report = check(history)
    assert report.findings == []
    assert report.counts["result"] == 9
    assert report.counts["received"] == 2 * (5 + 5 + 10 + 10) - 2 * 5 + 2
    assert {await one.owner()} == {begun.process for begun in history.of(Begun)}


async def test_without_a_position_a_cut_ends_the_call_for_its_client(addresses: list[Address]) -> None:
    async with Client("c", addresses, History(), seed=1) as client:
        ended = await client.call("append", 50, pause_seconds=0.01, cuts=[Cut(0.001, after_integers=3)])
    assert ended.verdict == "cut"


async def test_a_refusal_is_written_down_with_its_code(addresses: list[Address]) -> None:
    async with Client("d", addresses, History(), seed=1) as client:
        client.session.headers["mcp-session-id"] = "m1.nobodys"
        ended = await client.call("append", 1)
    assert (ended.verdict, ended.code) == ("refused", -32600)


async def test_a_call_that_is_never_answered_is_written_down_as_silent(addresses: list[Address]) -> None:
    async with Client("e", addresses, History(), seed=1) as client:
        ended = await client.call("append", 2, pause_seconds=30, patience_seconds=0.2)
    assert ended.verdict == "silent"


def test_the_fields_of_an_event_are_read() -> None:
    assert parse_event("id: 7\nevent: message\nretry: 500\ndata: {}") == Event("{}", "7", 0.5)
    assert parse_event(": ping") == Event()

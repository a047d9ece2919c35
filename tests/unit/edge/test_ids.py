"""A JSON-RPC id comes back in every message of its call, so it is bounded; what is beyond the bound is refused in words that name it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.edge.conftest import META, MODERN, Start, error
from tests.unit.edge.test_sessions import begun, call

pytestmark = pytest.mark.anyio

KEPT = ["", "a" * 256, "\U0001f6a2" * 256, 0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1]
TOO_LONG = ["a" * 257, "\U0001f6a2" * 257, 10**256, 10**300]
WIDE = [2**64, -(2**63) - 1, 10**19 * 2, -(10**20), 10**255]
"""Integers beyond 64 bits: the modern era's come back, as the SDK has it."""


def modern(request_id: Any, **meta: Any) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": request_id,
        "method": "tools/call",
        "params": {"_meta": {**META, **meta}, "name": "quick", "arguments": {}},
    }


ROUTING = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "quick"}


@pytest.mark.parametrize("request_id", KEPT, ids=repr)
async def test_an_id_within_the_bound_is_echoed_by_both_eras(start: Start, request_id: str | int) -> None:
    harbour = await start()
    session = await begun(harbour)
    answers = [
        await harbour.ask("POST", {"mcp-session-id": session}, {"jsonrpc": "2.0", **call("quick"), "id": request_id}),
        await harbour.ask("POST", ROUTING, modern(request_id)),
        await harbour.ask("POST", ROUTING, modern(request_id, progressToken=1.5)),  # not proved right here: the SDK's endpoint answers
    ]
    assert [json.loads(each.body)["id"] for each in answers] == [request_id] * 3


@pytest.mark.parametrize("request_id", WIDE, ids=lambda value: f"{value:.0e}")
async def test_an_integer_beyond_64_bits_comes_back_in_the_modern_era(start: Start, request_id: int) -> None:
    answer = await (await start()).ask("POST", ROUTING, modern(request_id))
    assert (answer.status, json.loads(answer.body)["id"]) == (200, request_id)


@pytest.mark.parametrize("request_id", TOO_LONG, ids=lambda value: f"{type(value).__name__} of {len(str(value))}")
async def test_an_id_that_is_too_long_is_refused_in_the_modern_era(start: Start, request_id: str | int) -> None:
    harbour = await start()
    for message in (modern(request_id), modern(request_id, progressToken=1.5)):
        answer = error(await harbour.ask("POST", ROUTING, message))
        assert answer == (400, -32600, "The request id must be a string or an integer of at most 256 characters")


@pytest.mark.parametrize("request_id", TOO_LONG + WIDE, ids=lambda value: f"{type(value).__name__} of {len(str(value))}")
async def test_an_id_beyond_the_bound_is_refused_in_the_same_words_wherever_it_stands_in_a_session(
    start: Start, request_id: str | int
) -> None:
    harbour = await start()
    session = {"mcp-session-id": await begun(harbour)}
    for headers, message in (
        (session, {"jsonrpc": "2.0", **call("quick"), "id": request_id}),
        (session, {"jsonrpc": "2.0", "id": request_id, "result": {}}),
        (session, {"jsonrpc": "2.0", "id": request_id, "error": {"code": 1, "message": "no"}}),
        ({}, {"jsonrpc": "2.0", "id": request_id, "method": "initialize", "params": {}}),
    ):
        answer = error(await harbour.ask("POST", headers, message))
        assert answer == (400, -32600, "id must be a string of at most 256 characters or an integer of 64 bits")


@pytest.mark.parametrize("request_id", TOO_LONG + WIDE, ids=lambda value: f"{type(value).__name__} of {len(str(value))}")
async def test_a_cancellation_of_an_id_beyond_the_bound_concerns_no_call(start: Start, request_id: str | int) -> None:
    harbour = await start()
    session = {"mcp-session-id": await begun(harbour)}
    notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}}
    assert (await harbour.ask("POST", session, notice)).status == 202
    assert (await harbour.ask("POST", session, {"jsonrpc": "2.0", **call("quick")})).status == 200

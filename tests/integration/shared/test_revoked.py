"""A key that is revoked while what it began is with another replica; each replica hears of it at its own time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moorage.security.api_keys import stored_line
from tests.comparison.wire import Exchange
from tests.integration.shared.conftest import Replica, Start, events, holds, until

pytestmark = pytest.mark.anyio

ALICES, BOBS = (f"moor_{letter * 43}" for letter in "ab")
LINES = [stored_line("alice", ALICES), stored_line("bob", BOBS)]
ALICE = {"authorization": f"Bearer {ALICES}"}


class Party:
    """Replicas with a keys file each, and a session of alice's that the first one owns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.headers: dict[str, str] = dict(ALICE)
        self.replicas: list[Replica] = []

    def path(self, number: int) -> Path:
        return self.folder / f"keys-{number}"

    async def begin(self, start: Start) -> None:
        for number in range(2):
            self.path(number).write_text("\n".join(LINES))
            self.replicas.append(await start(security={"api_keys_file": str(self.path(number))}))
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        opening = self.post(0, {"id": 0, "method": "initialize", "params": params})
        await opening.finished()
        self.headers["mcp-session-id"] = next(value.decode() for name, value in opening.headers if name == b"mcp-session-id")

    def post(self, number: int, message: Mapping[str, Any]) -> Exchange:
        return self.replicas[number].open("POST", self.headers, {"jsonrpc": "2.0", **message})

    def call(self, number: int, tool: str) -> Exchange:
        params = {"name": tool, "arguments": {}, "_meta": {"progressToken": "p"}}
        return self.post(number, {"id": 1, "method": "tools/call", "params": params})

    def listen(self, number: int) -> Exchange:
        return self.replicas[number].open("GET", self.headers)

    def revoke(self, number: int) -> None:
        """One replica hears that alice's key is valid no more."""
        self.path(number).write_text(LINES[1])
        source = self.replicas[number].app.state.key_source
        assert source.refresh() or source.refresh()


@pytest.fixture
async def party(start: Start, tmp_path: Path) -> Party:
    it = Party(tmp_path)
    await it.begin(start)
    return it


async def test_the_replica_that_the_client_is_connected_to_ends_streams_and_hops(party: Party) -> None:
    stream, call = party.listen(1), party.call(1, "once")
    await until(stream, lambda it: it.body)
    await until(call, lambda it: b"notifications/progress" in it.body)
    party.revoke(1)
    await stream.finished()
    await call.finished()
    assert not [message for _, message in events(call) if message and "result" in message]
    refused = party.call(1, "once")
    await refused.finished()
    assert refused.status == 401
    party.replicas[0].release.set()


async def test_the_owner_ends_what_runs_there_and_the_client_of_the_other_one_reads_why(party: Party) -> None:
    stream, call = party.listen(1), party.call(1, "once")
    await until(stream, lambda it: it.body)
    await until(call, lambda it: b"notifications/progress" in it.body)
    party.revoke(0)
    await call.finished()
    await stream.finished()
    [error] = [message["error"] for _, message in events(call) if message and "error" in message]
    assert error == {"code": -32013, "message": "The API key that this was begun with is not valid any more"}


async def test_an_owner_that_has_heard_serves_nothing_for_a_replica_that_has_not(party: Party) -> None:
    party.revoke(0)
    late = party.call(1, "once")
    await late.finished()
    assert (late.status, json.loads(late.body)["error"]["message"]) == (401, "The API key is not valid")
    assert party.replicas[0].runs["once"] == 0


async def test_a_call_that_goes_on_without_its_client_ends_too(party: Party) -> None:
    call = party.call(0, "once")
    await until(call, lambda it: b"notifications/progress" in it.body)
    call.leave()
    in_flight = party.replicas[0].service.in_flight
    await holds(lambda: all(each.client_gone for each in in_flight._calls))
    assert in_flight.calls == 1, "leaving is no cancellation in this era"
    party.revoke(0)
    await holds(lambda: in_flight.calls == 0)
    await call.finished()

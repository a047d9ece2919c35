"""What a client says of itself at `initialize` has bounds, and passing one is said in words, alone and with a store."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from tests.integration.shared.conftest import REVISION, Start, ping

pytestmark = pytest.mark.anyio

NOISE = "".join(Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=20 * 1024))
SAID = "what the client says of itself (clientInfo, capabilities) does not fit into a session id: it "


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"noise": {"text": NOISE}}, "has 20"),
        ({"noise": {"text": NOISE[:6000]}}, "would have "),
        ({"plain": {"text": "a" * 20 * 1024}}, "has 20"),
    ],
    ids=["more than is packed", "more than an id holds", "more than is packed, though it deflates"],
)
@pytest.mark.parametrize("stored", [False, True], ids=["alone", "with a store"])
async def test_too_much_is_refused_in_words_and_opens_nothing(start: Start, stored: bool, said: dict[str, Any], words: str) -> None:
    replica = await start(**({} if stored else {"store": {"url": None}}))
    params = {"protocolVersion": REVISION, "capabilities": {"experimental": said}, "clientInfo": {"name": "test", "version": "1"}}
    opening = replica.open("POST", {}, {"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": params})
    await opening.finished()
    answer = json.loads(opening.body)
    assert answer["id"] == 7
    assert SAID + words in answer["error"]["message"], answer
    assert "mcp-session-id" not in {name.decode() for name, _ in opening.headers}
    assert NOISE[:100] not in opening.body.decode()
    assert replica.service.open_sessions == 0
    assert await ping(replica, await replica.begin()) == 200

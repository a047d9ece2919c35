"""Each guard of the fast path is needed: with one taken out, the comparison fails. And the fast path is what answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from .answer import disagreements
from .case import case
from .cases import CASES
from .differences import DIFFERENCES
from .legacy import SCRIPTS
from .legacy.client import Client
from .legacy.client import call as session_call
from .servers import build
from .stage import by_moorage, open_stage
from .test_legacy import transcript
from .wire import lifespan, play

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]

GUARDS = (
    ("moorage.protocol.inbound.decode_strict", orjson.loads, "integers beyond 64 bits stay exact"),
    ("moorage.protocol.inbound.Envelopes.accepts", lambda *_: True, "capabilities that are a string are refused"),
    ("moorage.protocol.inbound._name_agrees", lambda *_: True, "another name in the header is a mismatch"),
    ("moorage.protocol.modern.ModernEndpoint._headers_agree", lambda *_: True, "a mirrored argument with another value"),
    ("moorage.protocol.modern.ModernEndpoint.recognises_head", lambda *_: True, "two name headers are refused"),
    ("moorage.protocol.hot.HotTools._is_open", lambda *_: True, "middleware adds to a result"),
    ("moorage.protocol.hot._NOT_PLAIN_PARAMS", frozenset(), "a forged request state is refused"),
    ("moorage.protocol.hot.is_plain", lambda *_: True, "a result made by hand with strange values comes back"),
)


SESSION_GUARDS = (
    ("moorage.protocol.hot._is_session_call", lambda *_: True, 'an envelope of {"progressToken": [1]}, in a session'),
    ("moorage.protocol.hot.HotTools._is_open", lambda *_: True, "middleware adds to a result, in a session"),
    ("moorage.protocol.hot._NOT_PLAIN_PARAMS", frozenset(), "a forged request state is refused, in a session"),
    ("moorage.protocol.hot.is_plain", lambda *_: True, "a result made by hand with strange values comes back, in a session"),
)


@pytest.mark.parametrize(("guard", "disabled", "noticed_by"), GUARDS, ids=[guard for guard, _, _ in GUARDS])
async def test_the_comparison_fails_without(monkeypatch: pytest.MonkeyPatch, guard: str, disabled: Any, noticed_by: str) -> None:
    monkeypatch.setattr(guard, disabled)
    async with open_stage(json_response=False) as stage:
        noticed = {each.id for each in CASES if each.id not in DIFFERENCES and disagreements(*await stage.play(each))}
    assert noticed_by in noticed


@pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")
@pytest.mark.parametrize(("guard", "disabled", "noticed_by"), SESSION_GUARDS, ids=[guard for guard, _, _ in SESSION_GUARDS])
async def test_the_comparison_of_sessions_fails_without(
    monkeypatch: pytest.MonkeyPatch, guard: str, disabled: Any, noticed_by: str
) -> None:
    monkeypatch.setattr(guard, disabled)
    [script] = [each for each in SCRIPTS if each.id == noticed_by]
    async with open_stage(json_response=False) as stage:
        transcripts = [await transcript(side[script.server], script, "2025-11-25") for side in (stage.sdk, stage.ours)]
    assert transcripts[0] != transcripts[1]


async def test_a_plain_call_is_answered_without_the_sdks_endpoint_and_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("the fast path was not taken")

    monkeypatch.setattr("moorage.protocol.sdk.handle_modern_request", forbidden)
    monkeypatch.setattr("moorage.protocol.modern.serve_one", forbidden)
    app = by_moorage(build("everyday"), False)
    async with lifespan(app):
        assert (await play(app, case("").request)).status == 200


async def test_a_plain_call_in_a_session_is_answered_without_the_sdks_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    app = by_moorage(built := build("everyday"), False)
    async with lifespan(app):
        client = Client(app, built.notes, "2025-11-25")
        await client.open()

        def forbidden(*_: Any, **__: Any) -> Any:
            raise AssertionError("the fast path was not taken")

        monkeypatch.setattr("mcp.server.runner.ServerRunner._on_request", forbidden)
        await client.post(session_call("add", a=1, b=2))
    assert "status 200" in client.transcript[0]
    assert '"isError": false' in client.transcript[1]

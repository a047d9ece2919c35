"""Each guard of the fast path is needed: with one taken out, the comparison fails. And the fast path is what answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from .answer import disagreements
from .case import case
from .cases import CASES
from .differences import DIFFERENCES
from .servers import build
from .stage import by_moorage, open_stage
from .wire import lifespan, play

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]

GUARDS = (
    ("moorage.protocol.inbound.decode_strict", orjson.loads, "integers beyond 64 bits stay exact"),
    ("moorage.protocol.inbound.Envelopes.accepts", lambda *_: True, "capabilities that are a string are refused"),
    ("moorage.protocol.inbound._name_agrees", lambda *_: True, "another name in the header is a mismatch"),
    ("moorage.protocol.modern.ModernEndpoint._headers_agree", lambda *_: True, "a mirrored argument with another value"),
    ("moorage.protocol.modern.ModernEndpoint.recognises_head", lambda *_: True, "two name headers are refused"),
    ("moorage.protocol.hot.HotTools._is_open", lambda *_: True, "middleware adds to a result"),
    ("moorage.protocol.hot._NOT_PLAIN_PARAMS", (), "a forged request state is refused"),
    ("moorage.protocol.hot.is_plain", lambda *_: True, "a result made by hand with strange values comes back"),
)


@pytest.mark.parametrize(("guard", "disabled", "noticed_by"), GUARDS, ids=[guard for guard, _, _ in GUARDS])
async def test_the_comparison_fails_without(monkeypatch: pytest.MonkeyPatch, guard: str, disabled: Any, noticed_by: str) -> None:
    monkeypatch.setattr(guard, disabled)
    async with open_stage(json_response=False) as stage:
        noticed = {each.id for each in CASES if each.id not in DIFFERENCES and disagreements(*await stage.play(each))}
    assert noticed_by in noticed


async def test_a_plain_call_is_answered_without_the_sdks_endpoint_and_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("the fast path was not taken")

    monkeypatch.setattr("moorage.protocol.sdk.handle_modern_request", forbidden)
    monkeypatch.setattr("moorage.protocol.modern.serve_one", forbidden)
    app = by_moorage(build("everyday"), False)
    async with lifespan(app):
        assert (await play(app, case("").request)).status == 200

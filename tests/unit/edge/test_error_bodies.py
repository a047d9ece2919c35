"""An error of the protocol is in words of its own: it quotes no value of the caller's and no library."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.edge.conftest import LEGACY, META, MODERN, Start, header

pytestmark = pytest.mark.anyio

VALUE = "c4n4ry"
LIBRARY = ("pydantic", "msgspec", "orjson", "validation error", "input_value", "Traceback", "site-packages")
NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("tools/call", {"name": {VALUE: 1}}),
    ("tools/call", {"arguments": {VALUE: VALUE}}),
    ("tools/call", {"name": "quick", "arguments": [VALUE]}),
    ("tools/call", {"name": "quick", "inputResponses": VALUE}),
    ("tools/call", {"name": "quick", "requestState": VALUE}),
    ("tools/list", {"cursor": {VALUE: VALUE}}),
    ("resources/read", {"uri": {VALUE: VALUE}}),
    ("resources/subscribe", {"uri": {VALUE: VALUE}}),
    ("prompts/get", {"name": {VALUE: VALUE}}),
    ("prompts/get", {"name": "any", "arguments": {VALUE: {VALUE: VALUE}}}),
    ("completion/complete", {"ref": VALUE}),
    ("completion/complete", {"ref": {"type": VALUE}}),
    ("logging/setLevel", {"level": VALUE}),
    ("subscriptions/listen", {"notifications": VALUE}),
    ("initialize", {"protocolVersion": [VALUE], "capabilities": VALUE, "clientInfo": VALUE}),
]
ODD = [
    b'{"jsonrpc":"2.0","c4n4ry',
    b'\xff"c4n4ry"',
    b'"c4n4ry"',
    b'[{"c4n4ry":1}]',
    b'{"c4n4ry":1}',
    b'{"jsonrpc":"c4n4ry","id":1,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":{"c4n4ry":1},"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"method":{"c4n4ry":1}}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":"c4n4ry"}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"progressToken":{"c4n4ry":1}}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":"c4n4ry"}}',
]


async def answers(start: Start, body: bytes, routing: dict[str, str]) -> list[bytes]:
    harbour = await start()
    opened = await harbour.session()
    session = {"mcp-session-id": str(header(opened, "mcp-session-id")), "mcp-protocol-version": LEGACY}
    modern = json.loads(body) if routing else None
    if modern is not None:
        modern["params"]["_meta"] = META
    exchanges = [
        await harbour.ask("POST", session, body),
        await harbour.ask("POST", {"mcp-protocol-version": MODERN, "mcp-method": "ping", **routing}, modern or body),
    ]
    return [exchange.body for exchange in exchanges]


@pytest.mark.parametrize(("method", "params"), WRONG, ids=[f"{method} {json.dumps(params)}" for method, params in WRONG])
async def test_wrong_params_are_not_quoted(start: Start, method: str, params: dict[str, Any]) -> None:
    name = params.get(NAMED_BY.get(method, ""))
    routing = {"mcp-method": method, **({"mcp-name": name} if isinstance(name, str) else {})}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    for answer in await answers(start, body, routing):
        assert json.loads(answer)["error"]["code"] in (-32600, -32601, -32602, -32020)
        assert [text for text in (VALUE, *LIBRARY) if text in answer.decode()] == []


@pytest.mark.parametrize("body", ODD)
async def test_what_is_no_message_is_not_quoted(start: Start, body: bytes) -> None:
    for answer in await answers(start, body, {}):
        assert json.loads(answer)["error"]["code"] in (-32700, -32600, -32601, -32602, -32020)
        assert [text for text in (VALUE, *LIBRARY) if text in answer.decode()] == []

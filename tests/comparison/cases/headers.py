"""The MCP headers: agreement with the body, mirrored arguments, the base64 form, copies and white space."""

import base64
from typing import Any

from tests.comparison.case import call, case, rpc


def _base64(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def _mirrored(**arguments: Any) -> dict[str, Any]:
    return call("mirrored", **arguments)


CASES = (
    case("no name header is a mismatch", headers={"mcp-name": None}),
    case("another name in the header is a mismatch", headers={"mcp-name": "echo"}),
    case("a name header in another case is a mismatch", headers={"mcp-name": "ADD"}),
    case("an empty name header is a mismatch", headers={"mcp-name": ""}),
    case("a name in base64 form agrees", headers={"mcp-name": _base64("add")}),
    case("another name in base64 form is a mismatch", headers={"mcp-name": _base64("echo")}),
    case("broken base64 is a mismatch", headers={"mcp-name": "=?base64?!!?="}),
    case("base64 without padding is a mismatch", headers={"mcp-name": "=?base64?YWRkMQ?="}),
    case("base64 that is not canonical is a mismatch", headers={"mcp-name": "=?base64?YWRkMR==?="}),
    case("base64 of no UTF-8 is a mismatch", headers={"mcp-name": "=?base64?//8=?="}),
    case("base64 with a capital marker is a plain value", headers={"mcp-name": "=?BASE64?YWRk?="}),
    case("a name that itself looks like the base64 form", call(_base64("add")), headers={"mcp-name": _base64("add")}),
    case("a name that looks like the base64 form, encoded once more", call(_base64("add")), headers={"mcp-name": _base64(_base64("add"))}),
    case("an address that looks like the base64 form", rpc("resources/read", uri=_base64("res://text"))),
    case("another method in the header is a mismatch", headers={"mcp-method": "tools/list"}),
    case("a method header in another case is a mismatch", headers={"mcp-method": "Tools/Call"}),
    case("no method header is a mismatch", headers={"mcp-method": None}),
    case("a method header in base64 form is a mismatch", headers={"mcp-method": _base64("tools/call")}),
    case("white space before a name is trimmed", headers={"mcp-name": "  add"}),
    case("white space after a name is trimmed", headers={"mcp-name": "add \t"}),
    case("white space around the version is trimmed", headers={"mcp-protocol-version": " 2026-07-28 "}),
    case("a resource's name is its address", rpc("resources/read", uri="res://text"), headers={"mcp-name": "res://other"}),
    case("a prompt's name is checked", rpc("prompts/get", name="hello", arguments={"city": "x"}), headers={"mcp-name": "other"}),
    case("a name header on a listing does not disturb", rpc("tools/list"), headers={"mcp-name": "anything"}),
    case("two name headers are refused", extra=[("mcp-name", "add")]),
    case("two name headers, the second another", extra=[("mcp-name", "echo")]),
    case("two method headers are refused", extra=[("mcp-method", "tools/call")]),
    case("two version headers are refused", extra=[("mcp-protocol-version", "2026-07-28")]),
    case("two version headers, the second of the older era", extra=[("mcp-protocol-version", "2025-11-25")]),
    case("two cookies do not disturb", extra=[("cookie", "a=1"), ("cookie", "b=2")]),
    case("a second accept header", extra=[("accept", "text/html")]),
    case("a second content type", extra=[("content-type", "text/plain")]),
    case("a second host", extra=[("host", "evil.example")]),
    case("a second host, the first another", headers={"host": "evil.example"}, extra=[("host", "127.0.0.1:8000")]),
    case("a second origin", headers={"origin": "http://localhost:1"}, extra=[("origin", "http://evil.example")]),
    case("a second origin, the first another", headers={"origin": "http://evil.example"}, extra=[("origin", "http://localhost:1")]),
    case("a second Content-Type, the first another", headers={"content-type": "text/plain"}, extra=[("content-type", "application/json")]),
    case("a session id on a modern request does not disturb", headers={"mcp-session-id": "abc"}),
    case("a last event id on a modern request does not disturb", headers={"last-event-id": "1"}),
    case("a mirrored argument agrees", _mirrored(region="eu"), headers={"mcp-param-region": "eu"}),
    case("a mirrored argument without its header", _mirrored(region="eu")),
    case("a mirrored argument with another value", _mirrored(region="eu"), headers={"mcp-param-region": "us"}),
    case("a mirrored header without its argument", _mirrored(), headers={"mcp-param-region": "us"}),
    case("a mirrored header and an argument of null", _mirrored(shard=None), headers={"mcp-param-shard": "1"}),
    case("a mirrored argument in base64 form", _mirrored(region="Zürich"), headers={"mcp-param-region": _base64("Zürich")}),
    case("a mirrored argument in broken base64", _mirrored(region="eu"), headers={"mcp-param-region": "=?base64?%%?="}),
    case("a mirrored argument with white space", _mirrored(region="eu"), headers={"mcp-param-region": " eu "}),
    case("a mirrored number agrees", _mirrored(shard=7), headers={"mcp-param-shard": "7"}),
    case("a mirrored number as a fraction of zero agrees", _mirrored(shard=7), headers={"mcp-param-shard": "7.0"}),
    case("a mirrored number with leading zeros", _mirrored(shard=7), headers={"mcp-param-shard": "007"}),
    case("a mirrored number in another notation", _mirrored(shard=7), headers={"mcp-param-shard": "7e0"}),
    case("a mirrored number beyond 64 bits", _mirrored(shard=2**70), headers={"mcp-param-shard": str(2**70)}),
    case("a mirrored list cannot be mirrored", _mirrored(region=["eu"]), headers={"mcp-param-region": "eu"}),
    case("a mirrored header twice", _mirrored(region="eu"), headers={"mcp-param-region": "eu"}, extra=[("mcp-param-region", "eu")]),
    case("an unknown mirrored header does not disturb", headers={"mcp-param-foo": "us"}),
    case("an unknown mirrored header twice", headers={"mcp-param-foo": "us"}, extra=[("mcp-param-foo", "us")]),
    case("a mirrored header of an unknown tool", call("nope", region="eu"), headers={"mcp-param-region": "eu"}),
    case(
        "a mirrored header and arguments that are a list",
        call("mirrored", _params={"arguments": ["eu"]}),
        headers={"mcp-param-region": "eu"},
    ),
)

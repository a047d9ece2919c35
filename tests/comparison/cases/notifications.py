"""Messages without an id: acknowledged and dropped, whatever they say."""

from tests.comparison.case import case


def _note(method: object, **more: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method, **more}


CASES = (
    case("a cancellation is acknowledged", _note("notifications/cancelled", params={"requestId": 1})),
    case("an unknown notification is acknowledged", _note("notifications/whatever")),
    case("a call without an id is a notification", _note("tools/call", params={"name": "add", "arguments": {}})),
    case("a notification of progress is acknowledged", _note("notifications/progress", params={"progressToken": 1, "progress": 1})),
    case("a notification of another JSON-RPC version is refused", {"jsonrpc": "1.0", "method": "x"}),
    case("a notification without a method is refused", {"jsonrpc": "2.0"}),
    case("a notification with a method that is a number is refused", _note(5)),
    case("a notification with params that are a list is refused", _note("x", params=[])),
    case("a notification of a version that is not served is refused", _note("x"), headers={"mcp-protocol-version": "2099"}),
    case("a notification without a method header is acknowledged", _note("x"), headers={"mcp-method": None}),
    case("a notification with another method header is acknowledged", _note("x"), headers={"mcp-method": "y"}),
    case("an object with nothing in it is refused", {}),
    case("a result without an id is refused", {"jsonrpc": "2.0", "result": {}}),
)

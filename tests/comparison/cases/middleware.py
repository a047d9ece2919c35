"""The same server behind middleware; what the middleware saw is compared as well."""

from tests.comparison.case import META, call, case, envelope, rpc

CASES = (
    case("middleware adds to a result", call("add", a=1, b=2), server="guarded"),
    case("middleware sees a plain function's result", call("add_in_a_thread", a=1, b=2), server="guarded"),
    case("middleware vetoes", call("vetoed"), server="guarded"),
    case("middleware crashes", call("crashing-middleware"), server="guarded"),
    case("middleware answers by itself", call("short-circuited"), server="guarded"),
    case("middleware answers with nothing", call("answered-with-nothing"), server="guarded"),
    case("middleware answers with an error by value", call("answered-with-an-error"), server="guarded"),
    case("middleware rewrites the call", call("rewritten"), server="guarded"),
    case("middleware turns the call into a listing", call("another-method"), server="guarded"),
    case("middleware sees an unknown tool", call("nope"), server="guarded"),
    case("middleware sees a crash", call("crashes"), server="guarded"),
    case("middleware sees a protocol error", call("refuses"), server="guarded"),
    case("middleware sees wrong arguments", call("add"), server="guarded"),
    case("middleware sees arguments that are a list", call("add", _params={"arguments": [1]}), server="guarded"),
    case("middleware sees a broken envelope", call("add", envelope(capabilities="x"), a=1, b=2), server="guarded"),
    case("middleware sees a listing", rpc("tools/list"), server="guarded"),
    case("middleware sees discovery", rpc("server/discover"), server="guarded"),
    case("middleware sees an unknown method", rpc("foo/bar"), server="guarded"),
    case("middleware sees a read", rpc("resources/read", uri="res://text"), server="guarded"),
    case("middleware sees an unknown prompt", rpc("prompts/get", name="nope"), server="guarded"),
    case("middleware sees progress pass", call("progress", {**META, "progressToken": "t"}, n=2), server="guarded"),
    case("middleware sees a crash after progress", call("progress_then_crash", {**META, "progressToken": "t"}), server="guarded"),
    case("middleware sees who calls", call("who_calls"), server="guarded"),
    case("middleware sees a question in the clear", call("asks_by_hand", state="s"), server="guarded"),
    case("middleware sees a resolver's question", call("greet", greeting="hi"), server="guarded"),
    case("middleware sees no forged request state", call("add", a=1, b=2, _params={"requestState": "forged"}), server="guarded"),
    case("middleware sees no header mismatch", call("add", a=1, b=2), headers={"mcp-name": "echo"}, server="guarded"),
    case("middleware sees mirrored arguments", call("mirrored", region="eu"), headers={"mcp-param-region": "eu"}, server="guarded"),
    case(
        "middleware sees no notification",
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
        server="guarded",
    ),
)

"""Calls that send something before their result: progress and logs, and what happens when they end badly."""

from tests.comparison.case import META, call, case, envelope

TOKEN = {**META, "progressToken": "token"}
DEBUG = envelope(log_level="debug")

CASES = (
    case("progress comes before the result", call("progress", TOKEN, n=3)),
    case("a number will do for a progress token", call("progress", {**META, "progressToken": 9}, n=3)),
    case("zero will do for a progress token", call("progress", {**META, "progressToken": 0}, n=1)),
    case("an empty progress token", call("progress", {**META, "progressToken": ""}, n=1)),
    case("no progress without a token", call("progress", n=3)),
    case("no progress from a tool that has none", call("progress", TOKEN, n=0)),
    case("progress from several tasks at once", call("progress_at_once", TOKEN)),
    case("a crash after progress", call("progress_then_crash", TOKEN)),
    case("a crash after progress that nobody wanted", call("progress_then_crash")),
    case("a protocol error after progress", call("progress_then_refuse", TOKEN)),
    case("a protocol error after progress that nobody wanted", call("progress_then_refuse")),
    case("a string id on a stream", call("progress", TOKEN, "abc", n=1)),
    case("an id beyond 64 bits on a stream", call("progress", TOKEN, 2**70, n=1)),
    case("a progress token beyond ASCII", call("progress", {**META, "progressToken": "é\u2028"}, n=1)),
    case("a progress token beyond 64 bits", call("progress", {**META, "progressToken": 2**70}, n=1)),
    case("no logs without a level", call("logs", n=2)),
    case("logs at the level that was asked for", call("logs", DEBUG, n=2)),
    case("no logs below the level that was asked for", call("logs", envelope(log_level="error"), n=2)),
    case("logs and a progress token", call("logs", {**DEBUG, "progressToken": 1}, n=2)),
    case("a change announced by a tool that is listened to by nobody", call("announces", TOKEN)),
    *(
        case(f"{where} carries {name}", call(f"says_in_{where}", {**DEBUG, "progressToken": 1}, kind=name))
        for where in ("progress", "logs", "errors")
        for name in ("text", "null", "nan", "big", "surrogate", "date", "tuple", "model")
    ),
    case("more progress than any buffer", call("progress", TOKEN, n=500)),
)

"""What HTTP itself decides: methods, Accept, Content-Type, Host, Origin, the body's size."""

from tests.comparison.case import call, case, rpc

ACCEPTS = (
    "*/*", "application/json", "text/event-stream", "application/*, text/*", "application/*", "", "text/html",
    "application/json;q=0.5, text/event-stream;q=0.1", "application/json;q=0, text/event-stream", "APPLICATION/JSON, TEXT/EVENT-STREAM",
    "application/json,text/event-stream", "application/jsonx, text/event-stream", ",,application/json , text/event-stream",
)  # fmt: skip
CONTENT_TYPES = (
    "text/plain", "Application/JSON; charset=utf-8", "application/jsonfoo", "application/json, text/plain", " application/json", "",
    "application/x-www-form-urlencoded", "application/json; charset=latin-1",
)  # fmt: skip
HOSTS = (
    "localhost:8000",
    "[::1]:8000",
    "127.0.0.1:1",
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example:80",
    "localhost.evil:1",
    "",
)
ORIGINS = (
    "http://localhost:3000",
    "http://127.0.0.1:8000",
    "http://[::1]:1",
    "http://evil.example",
    "null",
    "",
    "http://localhost:3000.evil",
)

CASES = (
    *(case(f"Accept: {value or 'nothing'}", headers={"accept": value}) for value in ACCEPTS),
    case("no Accept", headers={"accept": None}),
    *(case(f"Content-Type: {value or 'nothing'}", headers={"content-type": value}) for value in CONTENT_TYPES),
    case("no Content-Type", headers={"content-type": None}),
    *(case(f"Host: {value or 'nothing'}", headers={"host": value}) for value in HOSTS),
    case("no Host", headers={"host": None}),
    *(case(f"Origin: {value or 'nothing'}", headers={"origin": value}) for value in ORIGINS),
    *(case(f"the method {method} is not served", method=method, raw=b"") for method in ("GET", "DELETE", "PUT", "PATCH", "HEAD")),
    case("a body in pieces", pieces=5),
    case("a body above 4 MiB", raw=b" " * ((4 << 20) + 1)),
    case("a body above 4 MiB in pieces without a length", raw=b" " * ((4 << 20) + 1), pieces=9, headers={"content-length": None}),
    case("a body that is said to be above 4 MiB", headers={"content-length": "99999999"}),
    case("a length that is no number", headers={"content-length": "many"}),
    case("a large body below the limit", call("echo", value="x" * 1_000_000)),
    case("a bad Host is noticed before a bad Accept", headers={"host": "evil.example", "accept": "text/html"}),
    case("a bad Content-Type is noticed before a bad Host", headers={"host": "evil.example", "content-type": "text/plain"}),
    case("a bad Accept is noticed before a bad body", raw=b"{", headers={"accept": "text/html"}),
    case("listening needs an event stream", rpc("subscriptions/listen", notifications={}), headers={"accept": "application/json"}),
)

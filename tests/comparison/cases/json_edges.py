"""Bodies on which JSON decoders and envelope models disagree with each other."""

import json

from tests.comparison.case import call, case

CALL = call("add", a=1, b=2)
ECHO = call("echo", value="@")


NO_NUMBERS = ("01", "1.", ".5", "+1", "-", "1e", "0x1", "1_0")
ODD_NUMBERS = ("-0", "1E5", "1e-0", "1.0", "123456789012345678901.5")
RAW_SIGNS = {"newline": "\n", "tab": "\t", "delete": "\x7f"}


def _body(**changed: object) -> bytes:
    return json.dumps({**CALL, **changed}).encode()


def _echo(literal: str) -> bytes:
    return json.dumps(ECHO).replace('"@"', literal).encode()


CASES = (
    case("an empty body", raw=b""),
    case("white space only", raw=b" \n"),
    case("a body that ends early", raw=b"{"),
    case("a body that goes on", raw=json.dumps(CALL).encode() + b"{}"),
    case("a body with a trailing comma", raw=b'{"jsonrpc":"2.0","id":1,}'),
    case("a body with a comment", raw=b"// hello\n" + json.dumps(CALL).encode()),
    case("a body in single quotes", raw=b"{'jsonrpc':'2.0'}"),
    case("a body that is no UTF-8", raw=b'{"jsonrpc":"2.0","id":1,"method":"\xff"}'),
    case("an overlong encoding", ECHO, raw=_echo('"@"').replace(b"@", b"\xc0\xaf")),
    case("a byte order mark", raw=b"\xef\xbb\xbf" + json.dumps(CALL).encode()),
    case("UTF-16", raw=json.dumps(CALL).encode("utf-16")),
    case("UTF-16 without a mark", raw=json.dumps(CALL).encode("utf-16-le")),
    case("UTF-32", raw=json.dumps(CALL).encode("utf-32")),
    case("a body of zero bytes", raw=b"\x00\x00\x00\x00"),
    case("nesting beyond the decoder", raw=b"[" * 100_000 + b"]" * 100_000),
    case("nesting that the decoder bears", ECHO, raw=_echo("[" * 200 + "]" * 200)),
    case("nesting of an argument beyond the decoder", ECHO, raw=_echo("[" * 5_000 + "]" * 5_000)),
    case("white space around everything", raw=b"\r\n\t " + json.dumps(CALL, indent=2).encode() + b" \n"),
    case("a batch", raw=json.dumps([CALL]).encode()),
    case("an empty batch", raw=b"[]"),
    case("a number for a body", raw=b"5"),
    case("a string for a body", raw=b'"x"'),
    case("null for a body", raw=b"null"),
    case("NaN for a body", raw=b"NaN"),
    case("a posted response", raw=b'{"jsonrpc":"2.0","id":1,"result":{}}'),
    case("a posted error", raw=b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}'),
    case("NaN makes the round trip", ECHO, raw=_echo("NaN")),
    case("Infinity makes the round trip", ECHO, raw=_echo("Infinity")),
    case("minus Infinity makes the round trip", ECHO, raw=_echo("-Infinity")),
    case("a number too large for a float", ECHO, raw=_echo("1e400")),
    case("a number too small for a float", ECHO, raw=_echo("1e-400")),
    case("a fraction with many digits", ECHO, raw=_echo("0.1000000000000000055511151231257827")),
    case("a lone surrogate makes the round trip", ECHO, raw=_echo('"\\ud800"')),
    case("a pair of surrogates makes the round trip", ECHO, raw=_echo('"\\ud83d\\ude00"')),
    case("an escaped zero makes the round trip", ECHO, raw=_echo('"\\u0000"')),
    *(case(f"a number that JSON does not know: {text}", ECHO, raw=_echo(text)) for text in NO_NUMBERS),
    *(case(f"a number in an unusual form: {text}", ECHO, raw=_echo(text)) for text in ODD_NUMBERS),
    *(case(f"a string with a raw {name}", ECHO, raw=_echo(f'"{sign}"')) for name, sign in RAW_SIGNS.items()),
    case("a string with an unknown escape", ECHO, raw=_echo('"\\x41"')),
    case("a string with a broken escape", ECHO, raw=_echo('"\\u12"')),
    case("an object with an empty key", ECHO, raw=_echo('{"": {"": 1}}')),
    case("an object with a key twice", ECHO, raw=_echo('{"a": 1, "a": 2}')),
    case("an object with a surrogate for a key", ECHO, raw=_echo('{"\\ud800": 1}')),
    *(case(f"nesting {depth} deep makes the round trip", ECHO, raw=_echo("[" * depth + "]" * depth)) for depth in (64, 66, 250, 260, 400)),
    case("an integer of 4,301 digits", ECHO, raw=_echo("1" * 4301)),
    case("an integer of 4,300 digits", ECHO, raw=_echo("1" * 4300)),
    case("a key twice, the last one wins", raw=json.dumps(CALL).replace('"id": 1', '"id": 1, "id": 2').encode()),
    case("a name twice, the last one wins", raw=json.dumps(CALL).replace('"name": "add"', '"name": "echo", "name": "add"').encode()),
    case("a version of JSON-RPC that is another", raw=_body(jsonrpc="1.0")),
    case("a version of JSON-RPC that is a number", raw=_body(jsonrpc=2.0)),
    case("no version of JSON-RPC", raw=json.dumps({key: value for key, value in CALL.items() if key != "jsonrpc"}).encode()),
    case("an id of null", raw=_body(id=None)),
    case("an id that is a boolean", raw=_body(id=True)),
    case("an id that is a whole float", raw=_body(id=1.0)),
    case("an id that is a fraction", raw=_body(id=1.5)),
    case("an id that is Infinity", raw=_body(id=float("inf"))),
    case("an id that is a list", raw=_body(id=[1])),
    case("an id that is an object", raw=_body(id={})),
    case("an id with a lone surrogate", raw=_body(id="\ud800")),
    case("a very long id", raw=_body(id="i" * 10_000)),
    case("params that are a list", raw=_body(params=[])),
    case("params of null", raw=_body(params=None)),
    case("params that are a string", raw=_body(params="x")),
    case("a method that is a number", raw=_body(method=5)),
    case("a method of null", raw=_body(method=None)),
    case("no method", raw=json.dumps({key: value for key, value in CALL.items() if key != "method"}).encode()),
    case("a request that carries a result as well", raw=_body(result={})),
    case("a request that carries an error as well", raw=_body(error={"code": 1, "message": "x"})),
    case("a tool name with a lone surrogate", raw=json.dumps(call("\ud800")).encode(), headers={"mcp-name": "x"}),
)

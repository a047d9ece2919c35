"""What becomes of a tool's arguments: validation, coercion and values that JSON libraries treat differently."""

from tests.comparison.case import call, case, rpc

VALUES = (
    1, 1.5, "s", None, True, [1, None], {"a": {"b": None}}, 2**63, -(2**63) - 1, 2**70, 1e300, -0.0, "5", "[1]", '"q"', "", [[]], {}, "é",
    "\u0000", "\u2028", "a" * 70_000,
)  # fmt: skip

CASES = (
    case("an argument of the wrong type is a tool error", call("add", a="x", b=2)),
    case("a missing argument is a tool error", call("add", a=1)),
    case("no argument at all is a tool error", call("add")),
    case("an argument too many is ignored", call("add", a=1, b=2, c=3)),
    case("numbers in strings and whole floats are coerced", call("add", a="1", b=2.0)),
    case("a fraction is no integer", call("add", a=1.5, b=2)),
    case("a boolean is coerced as the SDK does", call("add", a=True, b=2)),
    case("null is no integer", call("add", a=None, b=2)),
    case(
        "a number of 5,000 digits is refused as the SDK does",
        raw=b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + b"9" * 5000 + b"}",
    ),
    case("integers beyond 64 bits stay exact", call("add", a=2**70, b=1)),
    case("arguments that are a list are refused", call("add", _params={"arguments": [1]})),
    case("arguments that are a string are refused", call("add", _params={"arguments": "x"})),
    case("arguments of null are none", call("add", _params={"arguments": None})),
    case("arguments of null suit a tool without any", call("texts", _params={"arguments": None})),
    case("left out arguments suit a tool without any", rpc("tools/call", name="texts")),
    case("a model in a JSON string is decoded", call("swapped", p='{"x":1,"y":2}')),
    case("an incomplete model is a tool error", call("swapped", p={"x": 1})),
    case("defaults are filled in", call("typed", i=1)),
    case("JSON in strings is decoded where the type asks for it", call("typed", i="1", items="[1,2]", o="null")),
    case("several wrong arguments are named together", call("typed", i=1.5, items="x", b="maybe")),
    case("an argument without a type takes anything", call("unannotated", x="5")),
    case("arguments named like pydantic's methods work", call("awkward_names", json="{}", model_dump="3")),
    case("an enumeration is taken by value", call("coloured", colour="red")),
    case("an unknown member of an enumeration is a tool error", call("coloured", colour="green")),
    case("a date that is none is a tool error", call("when", at="yesterday")),
    *(case(f"a value makes the round trip: {value!r:.24}", call("echo", value=value)) for value in VALUES),
)

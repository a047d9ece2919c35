"""The envelope in ``params._meta``: what may be missing, what is wrong, and in which order that is noticed."""

from tests.comparison.case import CLIENT_CAPABILITIES, CLIENT_INFO, META, PROTOCOL_VERSION, call, case, envelope, meta, rpc

OLD, UNKNOWN = "2025-11-25", "2099-01-01"


def _add(_meta: object) -> object:
    return call("add", _meta, a=1, b=2)


CASES = (
    case("no params at all is refused", {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}),
    case("no envelope is refused", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {}}}),
    case("an envelope that is a list is refused", _add([])),
    case("an envelope of null is refused", _add(None)),
    case("an empty envelope is refused", _add({})),
    case("an envelope without a version is refused", _add(meta(PROTOCOL_VERSION))),
    case("an envelope without capabilities is refused", _add(meta(CLIENT_CAPABILITIES))),
    case("an envelope without client information will do", call("who_calls", meta(CLIENT_INFO))),
    case("a version of null is refused", _add(envelope(version=None))),
    case("a version that is a number is refused", _add(envelope(version=20260728))),
    case("a version other than the header's is refused", _add(envelope(version=OLD))),
    case("an unknown version in both places is refused", _add(envelope(version=UNKNOWN)), headers={"mcp-protocol-version": UNKNOWN}),
    case("an unknown version in the header alone is refused", headers={"mcp-protocol-version": UNKNOWN}),
    case("an empty version in both places is refused", _add(envelope(version="")), headers={"mcp-protocol-version": ""}),
    case("capabilities of null are refused", _add(envelope(capabilities=None))),
    case("capabilities that are a string are refused", _add(envelope(capabilities="x"))),
    case("capabilities with a wrong member are refused", _add(envelope(capabilities={"sampling": 5}))),
    case("capabilities with an unknown member will do", call("who_calls", envelope(capabilities={"unknown": {"a": 1}}))),
    case("empty capabilities will do", call("who_calls", envelope(capabilities={}))),
    case("client information of null", call("who_calls", envelope(info=None))),
    case("client information of the wrong shape", _add(envelope(info={"name": 1}))),
    case("client information with more than a name", call("who_calls", envelope(info={"name": "c", "version": "1", "title": "T", "x": 1}))),
    case("a log level that does not exist", _add(envelope(log_level="loud"))),
    case("a log level of null", _add(envelope(log_level=None))),
    case("a progress token of null", call("progress", {**META, "progressToken": None}, n=2)),
    case("a progress token that is a boolean", _add({**META, "progressToken": True})),
    case("a progress token that is a fraction", call("progress", {**META, "progressToken": 1.5}, n=2)),
    case("a progress token that is a whole float", call("progress", {**META, "progressToken": 2.0}, n=2)),
    case("a progress token that is a list", call("progress", {**META, "progressToken": []}, n=2)),
    case("a broken envelope of a listing", rpc("tools/list", _meta=envelope(capabilities="x"))),
    case("a broken envelope of an unknown method", rpc("foo/bar", _meta=envelope(capabilities="x"))),
    case("a broken envelope and mirrored arguments", call("mirrored", envelope(capabilities="x"), region="eu")),
    case("a version mismatch is noticed before a method mismatch", _add(envelope(version=OLD)), headers={"mcp-method": "tools/list"}),
    case("a missing envelope is noticed before a method mismatch", _add({}), headers={"mcp-method": "tools/list"}),
    case("a name that is a number", call(5), headers={"mcp-name": "5"}),
    case("a name of null", call(None)),
    case("no name", rpc("tools/call", arguments={})),
    case("no name but a name in the header", rpc("tools/call", arguments={}), headers={"mcp-name": "add"}),
    case("a name that is a list", call(["add"]), headers={"mcp-name": "add"}),
)

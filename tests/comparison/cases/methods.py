"""Every method but ``tools/call``: lists, reads, prompts, completions, discovery, and methods that are not there."""

from typing import Any

from tests.comparison.case import call, case, rpc

PROMPT = {"type": "ref/prompt", "name": "hello"}


def _complete(ref: object, name: str = "city", value: str = "p", **more: Any) -> dict[str, Any]:
    return rpc("completion/complete", ref=ref, argument={"name": name, "value": value}, **more)


GONE = ("initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "roots/list", "sampling/createMessage")

CASES = (
    case("the tools are listed", rpc("tools/list")),
    case("the tools are listed in spite of a cursor", rpc("tools/list", cursor="x")),
    case("a cursor that is a number is refused", rpc("tools/list", cursor=5)),
    case("a low-level server's tools are listed", rpc("tools/list"), server="lowlevel"),
    case("the server is discovered", rpc("server/discover")),
    case("a low-level server is discovered", rpc("server/discover"), server="lowlevel"),
    case("the resources are listed", rpc("resources/list")),
    case("the resource templates are listed", rpc("resources/templates/list")),
    case("the prompts are listed", rpc("prompts/list")),
    case("a text is read", rpc("resources/read", uri="res://text")),
    case("bytes are read", rpc("resources/read", uri="res://bytes")),
    case("a template is read", rpc("resources/read", uri="res://items/7")),
    case("an unknown resource is refused", rpc("resources/read", uri="res://nope")),
    case("a broken resource shows nothing of the inside", rpc("resources/read", uri="res://broken")),
    case("a resource without an address is refused", rpc("resources/read")),
    case("an address that is a number is refused", rpc("resources/read", uri=5), headers={"mcp-name": "5"}),
    case("an address that is none", rpc("resources/read", uri="not an address")),
    case("a prompt is rendered", rpc("prompts/get", name="hello", arguments={"city": "Bern"})),
    case("an unknown prompt", rpc("prompts/get", name="nope")),
    case("a prompt without its argument", rpc("prompts/get", name="hello")),
    case("a prompt with an argument too many", rpc("prompts/get", name="hello", arguments={"city": "x", "more": "y"})),
    case("a prompt with an argument that is a number", rpc("prompts/get", name="hello", arguments={"city": 5})),
    case("a broken prompt", rpc("prompts/get", name="broken_prompt")),
    case("a prompt's argument is completed", _complete(PROMPT)),
    case("nothing completes", _complete(PROMPT, value="zz")),
    case("a completion with context", _complete(PROMPT, context={"arguments": {"a": "b"}})),
    case("a template's argument is completed", _complete({"type": "ref/resource", "uri": "res://items/{item}"})),
    case("a completion of an unknown kind", _complete({"type": "ref/other", "name": "x"})),
    case("a completion without an argument", rpc("completion/complete", ref=PROMPT)),
    case("a server without completions", _complete(PROMPT), server="lowlevel"),
    *(case(f"the method {method} is not of this era", rpc(method)) for method in GONE),
    case("an unknown method", rpc("foo/bar")),
    case("an empty method", rpc("")),
    case("a method beyond ASCII", rpc("föö"), headers={"mcp-method": "föö"}),
    case("a method in another case", call("add", a=1, b=2) | {"method": "Tools/Call"}),
    case("a tasks method without the extension", rpc("tasks/get", taskId="x")),
    case("a notification's method with an id", rpc("notifications/cancelled", requestId=1)),
)

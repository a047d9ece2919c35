"""One request in an open session, and its answer."""

from __future__ import annotations

from functools import partial
from typing import Any

from .client import Client, Script, call, note, rpc


async def _exchange(message: Any, raw: bytes | None, client: Client) -> None:
    await client.open()
    await client.post(message, raw=raw)


def _script(sentence: str, message: Any = None, *, raw: bytes | None = None, streams: bool = False) -> Script:
    return Script(sentence, partial(_exchange, message, raw), streams=streams)


TOKEN = {"progressToken": "token"}
PROMPT = {"type": "ref/prompt", "name": "hello"}

SCRIPTS = (
    _script("a tool answers", call("add", a=1, b=2)),
    _script("a plain function answers", call("add_in_a_thread", a=1, b=2)),
    _script("a string id comes back", call("add", "abc", a=1, b=2)),
    _script("id zero comes back", call("add", 0, a=1, b=2)),
    _script("an id beyond 64 bits comes back", call("add", 2**63 - 1, a=1, b=2)),
    _script("an unknown tool", call("nope")),
    _script("wrong arguments", call("add", a="x", b=2)),
    _script("arguments that are a list", rpc("tools/call", {"name": "add", "arguments": [1]})),
    _script("a call without a name", rpc("tools/call", {"arguments": {}})),
    _script("a call without params", rpc("tools/call")),
    _script("a crash", call("crashes")),
    _script("a planned failure", call("fails")),
    _script("a protocol error", call("refuses")),
    _script("a model", call("swapped", p={"x": 1, "y": 2})),
    _script("strange values", call("as_declared", kind="strange")),
    _script("an image", call("picture")),
    _script("an image block", call("image_block")),
    _script("text beyond ASCII", call("unicode", s="ü")),
    _script("nothing", call("nothing")),
    _script("mirrored arguments need no headers", call("mirrored", region="eu", shard=1)),
    _script("progress", call("progress", _meta=TOKEN, n=3), streams=True),
    _script("progress without a token", call("progress", n=3)),
    _script("progress and a crash", call("progress_then_crash", _meta=TOKEN), streams=True),
    _script("progress and a protocol error", call("progress_then_refuse", _meta=TOKEN), streams=True),
    _script("progress from several tasks", call("progress_at_once", _meta=TOKEN), streams=True),
    _script("logs", call("logs", n=2), streams=True),
    _script("a question by hand is not of this era", call("asks_by_hand", state="s")),
    _script("the tools are listed", rpc("tools/list")),
    _script("the tools are listed with params", rpc("tools/list", {})),
    _script("the resources are listed", rpc("resources/list")),
    _script("the templates are listed", rpc("resources/templates/list")),
    _script("the prompts are listed", rpc("prompts/list")),
    _script("a text is read", rpc("resources/read", {"uri": "res://text"})),
    _script("bytes are read", rpc("resources/read", {"uri": "res://bytes"})),
    _script("an unknown resource", rpc("resources/read", {"uri": "res://nope"})),
    _script("a broken resource", rpc("resources/read", {"uri": "res://broken"})),
    _script("a prompt", rpc("prompts/get", {"name": "hello", "arguments": {"city": "Bern"}})),
    _script("an unknown prompt", rpc("prompts/get", {"name": "nope"})),
    _script("a prompt without its argument", rpc("prompts/get", {"name": "hello"})),
    _script("a completion", rpc("completion/complete", {"ref": PROMPT, "argument": {"name": "city", "value": "p"}})),
    _script("a ping", rpc("ping")),
    _script("a ping with a string id", rpc("ping", _id="p")),
    _script("an unknown method", rpc("foo/bar")),
    _script("a method of the modern era", rpc("server/discover")),
    _script("listening is not of this era", rpc("subscriptions/listen", {"notifications": {}})),
    _script("a log level", rpc("logging/setLevel", {"level": "info"})),
    _script("a subscription nobody serves", rpc("resources/subscribe", {"uri": "res://text"})),
    _script("an unknown notification", note("notifications/whatever")),
    _script("a cancellation of nothing", note("notifications/cancelled", {"requestId": 99})),
    _script("a response that nobody waits for", {"jsonrpc": "2.0", "id": 99, "result": {}}),
    _script("no JSON", raw=b"{"),
    _script("an empty body", raw=b""),
    _script("a batch", raw=b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]'),
    _script("no envelope", raw=b"{}"),
    _script("another version of JSON-RPC", raw=b'{"jsonrpc":"1.0","id":1,"method":"ping"}'),
    _script("params that are a list", raw=b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}'),
    _script("an id of null", rpc("ping", _id=None)),
    _script("an id that is a boolean", rpc("ping", _id=False)),
    _script("an id that is a fraction", rpc("ping", _id=1.5)),
    _script("an id that is a whole float", rpc("ping", _id=1.0)),
    _script("an id that is a list", rpc("ping", _id=[1])),
    _script("a very long id", rpc("ping", _id="i" * 10_000)),
)

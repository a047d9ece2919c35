"""Every call of a tool that the modern tables hold, said within a session: what a fast way may forget, it may forget in both eras.

Tools that ask the client are left to `conversations`, since a session's client has to answer them. Of the modern envelope nothing is said.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.comparison.case import CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, PROTOCOL_VERSION, Case, ServerName
from tests.comparison.cases import CASES

from .client import Client, Script, rpc

ERAS = ("2025-03-26", "2025-11-25")
ENVELOPE = {CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, PROTOCOL_VERSION}
ASKING = {"greet", "elicits", "samples", "lists_roots"}
STREAMING = {"says_in_logs", "says_in_progress"}
ODD_ENVELOPES = (None, [], "x", {"progressToken": 2**70}, {"progressToken": [1]}, {"progressToken": {}}, {"unknown": {"a": 1}})


def _in_a_session(case: Case) -> Any:
    """The call of a case as a session's client says it, under an id that is right; None where it is no call of a tool."""
    try:
        message = json.loads(b"".join(case.request.body))
    except (ValueError, RecursionError):
        return None
    params = message.get("params") if isinstance(message, dict) else None
    if not isinstance(params, dict) or message.get("method") != "tools/call" or str(params.get("name")) in ASKING:
        return None
    meta = params.pop("_meta", {})
    if isinstance(meta, dict):
        meta = {key: value for key, value in meta.items() if key not in ENVELOPE}
    if meta != {}:
        params["_meta"] = meta
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


async def _exchange(message: Any, client: Client) -> None:
    await client.open()
    client.notes.take()
    await client.post(message)
    client.say(client.notes.take())


def _script(sentence: str, message: Any, server: ServerName = "everyday") -> Script:
    streams = str(message["params"].get("name")) in STREAMING
    return Script(f"{sentence}, in a session", partial(_exchange, message), ERAS, streams=streams, server=server)


_CALLS = [(case, _in_a_session(case)) for case in CASES]
_ENVELOPES = [(f"an envelope of {json.dumps(meta)}", meta) for meta in ODD_ENVELOPES]

SCRIPTS = (
    *(_script(case.id, message, case.server) for case, message in _CALLS if message is not None),
    *(_script(sentence, rpc("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}, "_meta": meta})) for sentence, meta in _ENVELOPES),
)

"""Where moorage means to answer otherwise than the SDK: each exchange by its name, with the reason and the answer that is right.

An entry whose two answers agree again is out of date and fails its test. Nothing gets in here because it was easier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HALF_A_PAIR: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\ud8[0-9a-f]{2}(?!\\ud[c-f])")
"""The SDK sends a lone surrogate that a tool or a client wrote; what moorage sends is UTF-8, so there it is U+FFFD, wherever it stands."""

_REJECTED: Final = re.compile(r"(Error executing tool [^:\"\\]+: )\d+ validation errors? for \w+\\n(?:[^\"\\]|\\.)*")
_OUR_REASONS: Final = re.compile(r"(Error executing tool [^:\"\\]+: the arguments were rejected)\\n(?:[^\"\\]|\\.)*")
"""pydantic's text of rejected arguments quotes the rejected values and links to its documentation; moorage says what was expected."""


def as_moorage_has_it(line: str) -> str:
    """What the SDK sent, with the two differences of text that any answer may have; of rejected arguments without the reasons."""
    return HALF_A_PAIR.sub(r"\1\\ufffd", _REJECTED.sub(r"\1the arguments were rejected", line))


def without_reasons(line: str) -> str:
    """What moorage sent, without its reasons for rejecting arguments, in words that the SDK does not have."""
    return _OUR_REASONS.sub(r"\1", line)


@dataclass(frozen=True, slots=True)
class Difference:
    """Our own answer: the status, and the JSON-RPC error's code and message (None where it is a result)."""

    reason: str
    status: int
    code: int | None = None
    message: str | None = None


HOST = Difference(
    "Refused with the SDK's status, but as a JSON-RPC error that names the setting.",
    421,
    -32600,
    "Misdirected request: this Host is not served here (security.allowed_hosts)",
)
ORIGIN = Difference(
    "Refused with the SDK's status, but as a JSON-RPC error that names the setting.",
    403,
    -32600,
    "Forbidden: this Origin is not allowed here (security.allowed_origins)",
)
STRICT_ORIGIN = Difference(
    "The SDK lets an empty Origin pass, and one that only begins like an allowed one.", ORIGIN.status, ORIGIN.code, ORIGIN.message
)
TOO_LARGE = Difference(
    "Refused with the SDK's status, but as a JSON-RPC error that names the limit.",
    413,
    -32600,
    "Request body too large: at most 4194304 bytes are read (http.max_body_bytes)",
)
TOO_DEEP = Difference(
    "Depth is bounded before anything is decoded, below what the decoders, the models and the encoder behind it can bear.",
    400,
    -32600,
    "The body is nested too deep: at most 100 levels are read (http.max_json_depth)",
)
TRIMMED = Difference("RFC 9110, 5.5: white space around a header's value is no part of it.", 200)
BAD_PARAMS = "A client's mistake is no internal error: the prompt's name or arguments are invalid params."

DIFFERENCES: Mapping[str, Difference] = {
    **dict.fromkeys(
        (
            "Host: evil.example",
            "Host: evil.example:8000",
            "Host: 127.0.0.1.evil.example:80",
            "Host: localhost.evil:1",
            "Host: nothing",
            "no Host",
            "a second host, the first another",
            "a bad Host is noticed before a bad Accept",
        ),
        HOST,
    ),
    "a bad Content-Type is noticed before a bad Host": Difference(
        "Who may not come in is told so before anything else.", HOST.status, HOST.code, HOST.message
    ),
    **dict.fromkeys(("Origin: http://evil.example", "Origin: null", "a second origin, the first another"), ORIGIN),
    **dict.fromkeys(("Origin: nothing", "Origin: http://localhost:3000.evil"), STRICT_ORIGIN),
    **dict.fromkeys(
        ("a body above 4 MiB", "a body above 4 MiB in pieces without a length", "a body that is said to be above 4 MiB"), TOO_LARGE
    ),
    "nesting beyond the decoder": Difference(
        "The number of values is bounded before anything is decoded, and an array is one.",
        400,
        -32600,
        "The body has too many values: at most 50000 are read (http.max_json_values)",
    ),
    **dict.fromkeys(
        (
            "nesting that the decoder bears",
            "nesting of an argument beyond the decoder",
            "nesting 250 deep makes the round trip",
            "nesting 260 deep makes the round trip",
            "nesting 400 deep makes the round trip",
        ),
        TOO_DEEP,
    ),
    **dict.fromkeys(
        (
            "white space before a name is trimmed",
            "white space after a name is trimmed",
            "white space around the version is trimmed",
            "a mirrored argument with white space",
            "Content-Type:  application/json",
        ),
        TRIMMED,
    ),
    "a very long id": Difference(
        "An id is echoed, so it is bounded.", 400, -32600, "The request id must be a string or an integer of at most 256 characters"
    ),
    "an unknown prompt": Difference(BAD_PARAMS, 400, -32602, "Unknown prompt: nope"),
    "middleware sees an unknown prompt": Difference(BAD_PARAMS, 400, -32602, "Unknown prompt: nope"),
    "a prompt without its argument": Difference(BAD_PARAMS, 400, -32602, "Missing required arguments: {'city'}"),
}


@dataclass(frozen=True, slots=True)
class LegacyDifference:
    """Our own transcript of a script of the session era."""

    reason: str
    transcript: tuple[str, ...]


REFUSED = ("status 400", "refused -32600")
LIES = LegacyDifference(
    "A gateway may have let the request in by Mcp-Method or Mcp-Name; this era does without them, so what is present is compared.", REFUSED
)
TWICE = LegacyDifference("Of two, whoever stands before the server may have believed the other one.", REFUSED)
NO_MESSAGE = LegacyDifference("What is no JSON-RPC message is an invalid request; invalid params are those of a valid one.", REFUSED)
NO_ID = LegacyDifference("The SDK takes it for a notification, answers 202 and never again: the client would wait for ever.", REFUSED)

DEEP = LegacyDifference(TOO_DEEP.reason, (*REFUSED, "[]"))
INSIDE = "The SDK tells what its handler raised under the code 0; the inside of a server is nobody's business."
INTERNAL = ("status 200", '{"error": {"code": -32603, "message": "Internal server error"}, "id": 1, "jsonrpc": "2.0"}')
HALF = "The SDK cannot write it, and fails with 500; what moorage sends is UTF-8, so there it is U+FFFD."
DONE = (
    '{"id": 1, "jsonrpc": "2.0", "result": {"content": [{"text": "done", "type": "text"}], '
    '"isError": false, "structuredContent": {"result": "done"}}}'
)

LEGACY_DIFFERENCES: Mapping[str, LegacyDifference] = {
    **dict.fromkeys(("a batch", "no envelope", "another version of JSON-RPC", "params that are a list"), NO_MESSAGE),
    **dict.fromkeys(
        ("an id of null", "an id that is a boolean", "an id that is a fraction", "an id that is a whole float", "an id that is a list"),
        NO_ID,
    ),
    "a very long id": LegacyDifference("An id is echoed, so it is bounded.", REFUSED),
    "an unknown prompt": LegacyDifference(
        BAD_PARAMS, ("status 200", '{"error": {"code": -32602, "message": "Unknown prompt: nope"}, "id": 1, "jsonrpc": "2.0"}')
    ),
    "a prompt without its argument": LegacyDifference(
        BAD_PARAMS,
        ("status 200", '{"error": {"code": -32602, "message": "Missing required arguments: {\'city\'}"}, "id": 1, "jsonrpc": "2.0"}'),
    ),
    **dict.fromkeys(
        (
            "a client sends the method of another call",
            "a client sends the name of another tool",
            "a client sends the address of another resource",
            "a client notifies by another method",
        ),
        LIES,
    ),
    "a client initializes by another method": LegacyDifference(LIES.reason, (*REFUSED, "session id none")),
    **dict.fromkeys(
        (
            "a client sends the session twice",
            "a client sends the version twice",
            "a client sends the content type twice",
            "a client sends the method twice",
        ),
        TWICE,
    ),
    "a response that nobody waits for": LegacyDifference(
        "A reply to a question of another process would be lost: whoever sends it is told that nobody here asked.", REFUSED
    ),
    "a second get stream": LegacyDifference(
        "The newer of two streams stays: the older one is what a client lost, and a 409 would lock it out.",
        ("listening 200", "listening 200"),
    ),
    **dict.fromkeys(
        (
            "nesting that the decoder bears, in a session",
            "nesting of an argument beyond the decoder, in a session",
            "nesting 250 deep makes the round trip, in a session",
            "nesting 260 deep makes the round trip, in a session",
            "nesting 400 deep makes the round trip, in a session",
        ),
        DEEP,
    ),
    **dict.fromkeys(
        (
            "a low-level server's crash shows nothing of the inside, in a session",
            "a low-level server's wrong result is an internal error, in a session",
        ),
        LegacyDifference(INSIDE, (*INTERNAL, "[]")),
    ),
    "middleware crashes, in a session": LegacyDifference(
        INSIDE, (*INTERNAL, """["in tools/call 1 ['arguments', 'name']", "out tools/call RuntimeError"]""")
    ),
    "middleware turns the call into a listing, in a session": LegacyDifference(
        INSIDE, (*INTERNAL, """["in tools/call 1 ['arguments', 'name']", "out tools/call KeyError"]""")
    ),
    "progress carries surrogate, in a session": LegacyDifference(
        HALF,
        (
            "status 200",
            r'{"jsonrpc": "2.0", "method": "notifications/progress", "params": {"message": "\ufffd", "progress": 1, "progressToken": 1}}',
            DONE,
            "[]",
        ),
    ),
    "logs carries surrogate, in a session": LegacyDifference(
        HALF,
        (
            "status 200",
            r'{"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": {"value": "\ufffd"}, "level": "info"}}',
            DONE,
            "[]",
        ),
    ),
    "errors carries surrogate, in a session": LegacyDifference(
        HALF,
        (
            "status 200",
            r'{"error": {"code": -32001, "data": {"value": "\ufffd"}, "message": "odd"}, "id": 1, "jsonrpc": "2.0"}',
            "[]",
        ),
    ),
}

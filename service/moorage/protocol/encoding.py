"""JSON and Server-Sent Events as they stand on the wire.

One decode and one encode a request, and both exact: `msgspec` and pydantic read (orjson turns integers beyond 64 bit into floats without
a word), orjson writes, and what orjson cannot write goes through the standard library. NaN and infinities are written as
`null`, because they are not JSON (RFC 8259, section 6), and half a surrogate pair as U+FFFD, because UTF-8 has no form for it.
What has no form in JSON at all (too deep, circular, bytes, a set, ...), or too many values, raises `Unwritable`, and nothing else is
raised: it is the error of the call whose tool made it.
"""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any, Final, cast

import msgspec
import orjson
import pydantic_core
import structlog
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, ErrorData

from moorage.lifecycle.heap import collector_at_rest
from moorage.protocol.bounds import BodyBounds

PING: Final = b": ping\r\n\r\n"
"""An SSE comment: keeps proxies from cutting an idle stream, and no client sees it."""

MAX_WRITTEN_DEPTH: Final = 250
"""Levels of arrays and objects in a message that is written: orjson and pydantic end at 254, and most readers at 200 to 1,000."""

MAX_WRITTEN_VALUES: Final = 250_000
"""Members of all arrays and objects of a message that is written: few take so many, and their reader's loop stands still as ours does."""

_MAX_PLAIN_DEPTH: Final = 64
_MAX_NAMED: Final = 120
"""Characters of a path that an error names; its parts are a tool's own."""

_UNKNOWN_TYPE: Final = re.compile(r"Unable to serialize unknown type: <(?:class|enum) '([^']+)'>")
"""How pydantic-core begins; it has no other way to tell."""

_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
_WRITTEN_BOUNDS: Final = BodyBounds(sys.maxsize, MAX_WRITTEN_VALUES)  # what is nested too deep is known by now
log = structlog.get_logger("moorage.protocol")
_decode = msgspec.json.Decoder().decode

_SMALL_BYTES: Final = 1024
"""Up to here msgspec is the faster reader. Beyond, pydantic is, and msgspec takes 10 microseconds for a number like `1e300`."""


def decode_strict(body: bytes) -> Any:
    """Read RFC 8259 JSON.

    Raises:
        ValueError: for anything else (NaN, lone surrogates, a byte order mark, UTF-16 among it).
    """
    return _decode(body) if len(body) <= _SMALL_BYTES else _decode_large(body, numbers_only=True)


def decode_lenient(body: bytes) -> Any:
    """Read what the SDK's session transport reads: JSON, and NaN and infinities as numbers.

    Raises:
        ValueError: when the body is not even that.
    """
    if len(body) <= _SMALL_BYTES:
        try:
            return _decode(body)
        except (ValueError, RecursionError):
            pass
    return _decode_large(body, numbers_only=False)


def _decode_large(body: bytes, *, numbers_only: bool) -> Any:
    with collector_at_rest():
        return pydantic_core.from_json(body, allow_inf_nan=not numbers_only, cache_strings="keys")


class Unwritable(MCPError):  # noqa: N818 - an answer to a call, by its reason
    """A message has no form in JSON. Raised where a tool sends it, it is the JSON-RPC error of that tool's call."""

    def __init__(self, reason: str) -> None:
        super().__init__(code=INTERNAL_ERROR, message=f"Cannot be written as JSON: {reason}")


def encode(message: Any) -> bytes:
    """Write one JSON-RPC message.

    Raises:
        Unwritable: what of it, and where, has no form in JSON.
    """
    try:
        written = orjson.dumps(message, option=_OPTIONS)
    except TypeError:  # integers beyond 64 bit, lone surrogates, keys that are not text, nesting, or something that is none of JSON's types
        written = _encode_slowly(message)
    require_few_values(written)
    return written


def require_few_values(written: bytes) -> None:
    """Look at what is about to leave, one JSON message with or without its SSE frame.

    Raises:
        Unwritable: it has more than `MAX_WRITTEN_VALUES`.
    """
    if len(written) > MAX_WRITTEN_VALUES and _WRITTEN_BOUNDS.refusal(written) is not None:
        raise Unwritable(f"more than {MAX_WRITTEN_VALUES} values")


def encode_answer(answer: dict[str, Any]) -> bytes:
    """Write the answer to a request; one that has no form in JSON becomes an error that says so, under the same id."""
    try:
        return encode(answer)
    except Unwritable as fault:
        reason, failed = fault.error.message, cast("dict[str, Any] | None", answer.get("error"))
        log.error("mcp.answer_unwritable", reason=reason)  # noqa: TRY400 - the reason says it all
        error = {"code": INTERNAL_ERROR, "message": reason}
        if failed is not None:  # what went wrong stays; only its data cannot be told
            error = {"code": failed["code"], "message": failed["message"], "data": reason}
        return encode({"jsonrpc": "2.0", "id": answer["id"], "error": error})


def error_object(error: ErrorData, *, exclude_none: bool = False, exclude_unset: bool = False) -> dict[str, Any]:
    """An error as it stands in its answer; data that pydantic cannot write gives way to the reason.

    Args:
        error: As a handler raised it.
        exclude_none: As the SDK has it in the modern era.
        exclude_unset: As the SDK has it in the handshake era.
    """
    try:
        return error.model_dump(mode="json", by_alias=True, exclude_none=exclude_none, exclude_unset=exclude_unset)
    except (ValueError, TypeError, RecursionError) as fault:
        return {"code": error.code, "message": error.message, "data": unwritable(fault, "error.data").error.message}


def unwritable(fault: Exception, where: str) -> Unwritable:
    """What pydantic met that it cannot write, as our error, in words of our own: pydantic's quote what a team's own serializer raised."""
    text = str(fault)
    if isinstance(fault, UnicodeEncodeError):
        reason = "half a surrogate pair in a key"
    elif isinstance(fault, UnicodeDecodeError):
        reason = "bytes that are no UTF-8"
    elif (unknown := _UNKNOWN_TYPE.match(text)) is not None:
        reason = f"JSON has no form for the type {unknown[1][:_MAX_NAMED]}"
    elif "ircular reference" in text:
        reason = "a value that contains itself"
    elif isinstance(fault, RecursionError) or "depth exceeded" in text:
        reason = "nested too deep"
    else:
        reason = "a value that cannot be serialized"
    return Unwritable(f"{where}: {reason}")


def sse_event(message: Any) -> bytes:
    """Frame one JSON-RPC message as an SSE `message` event.

    Raises:
        Unwritable.
    """
    return sse_frame(encode(message))


def sse_frame(data: bytes) -> bytes:
    """Frame one JSON-RPC message that is written already."""
    return b"event: message\r\ndata: " + data + b"\r\n\r\n"


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value consists of JSON's own types alone, so that encoding it needs no model and loses nothing."""
    kind = cast("object", type(value))
    if kind is str or kind is int or kind is bool or value is None:
        return True
    if kind is float:
        return math.isfinite(value)
    if depth > _MAX_PLAIN_DEPTH:
        return False
    if kind is dict:
        return all(type(key) is str and is_plain(item, depth + 1) for key, item in cast("dict[Any, Any]", value).items())
    if kind is list:
        return all(is_plain(item, depth + 1) for item in cast("list[Any]", value))
    return False


class _Unfit(Exception):  # noqa: N818 - finds its way out of a value, and becomes an error there
    """Something has no form in JSON; `path` grows from the inside to the outside."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: list[str] = []


def _encode_slowly(message: Any) -> bytes:
    try:
        return json.dumps(_fit(message, 0), separators=(",", ":"), allow_nan=False).encode()
    except _Unfit as unfit:
        where = ".".join(_text(part) for part in reversed(unfit.path[-MAX_WRITTEN_DEPTH:]))[:_MAX_NAMED]
        raise Unwritable(f"{where}: {unfit}") from None
    except (ValueError, TypeError, RecursionError) as fault:  # whatever a subclass of JSON's own types may do
        raise Unwritable(type(fault).__name__) from None


def _fit(value: Any, depth: int) -> Any:
    """The value in the types that the standard library's encoder writes, without what it would write wrong."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= MAX_WRITTEN_DEPTH:
        raise _Unfit(f"nested deeper than {MAX_WRITTEN_DEPTH} levels")
    if isinstance(value, dict):
        return {_key(key): _member(key, item, depth) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_member(index, item, depth) for index, item in enumerate(cast("list[Any]", value))]
    raise _Unfit(f"JSON has no form for the type {type(value).__name__}")


def _member(name: object, value: Any, depth: int) -> Any:
    try:
        return _fit(value, depth + 1)
    except _Unfit as unfit:
        unfit.path.append(name if isinstance(name, str) else repr(name)[:_MAX_NAMED])
        raise


def _text(value: str) -> str:
    """A text in which both halves of a surrogate pair are their character, and a half alone is U+FFFD."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


def _integer(value: int) -> int:
    try:
        int.__repr__(value)
    except ValueError:
        raise _Unfit("an integer with more digits than Python writes") from None
    return value


def _key(key: object) -> str | float | None:
    """What the standard library takes for a key: numbers, booleans and None become text, as ever."""
    if isinstance(key, str):
        return _text(key)
    if key is None or isinstance(key, bool):
        return key
    if isinstance(key, int):
        return _integer(key)
    if isinstance(key, float):
        return repr(key)
    raise _Unfit(f"JSON has no form for a key of the type {type(key).__name__}")

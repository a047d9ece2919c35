"""JSON and Server-Sent Events as they stand on the wire.

One decode and one encode a request, and both exact: `msgspec` and pydantic read (orjson turns integers beyond 64 bit into floats without
a word), orjson writes, and what orjson cannot write goes through the standard library. NaN and infinities are written as
`null`, because they are not JSON (RFC 8259, section 6).
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, cast

import msgspec
import orjson
import pydantic_core

from moorage.lifecycle.heap import collector_at_rest

PING: Final = b": ping\r\n\r\n"
"""An SSE comment: keeps proxies from cutting an idle stream, and no client sees it."""

_MAX_PLAIN_DEPTH: Final = 64
_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
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


def encode(message: Any) -> bytes:
    """Write one JSON-RPC message."""
    try:
        return orjson.dumps(message, option=_OPTIONS)
    except TypeError:  # integers beyond 64 bit, lone surrogates, keys that are not text
        return json.dumps(_finite(message), separators=(",", ":"), allow_nan=False).encode()


def sse_event(message: Any) -> bytes:
    """Frame one JSON-RPC message as an SSE `message` event."""
    return b"event: message\r\ndata: " + encode(message) + b"\r\n\r\n"


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


def _finite(value: Any) -> Any:
    """The value with NaN and infinities as `None`, for the encoder that would write them as words."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast("list[Any]", value)]
    return value

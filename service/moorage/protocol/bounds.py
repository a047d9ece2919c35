"""How deep and how many the values of a body are, told before it is decoded.

A decoder holds the interpreter's lock from its first byte to its last, so a thread is no way out: what would take it too long is refused
by a count of delimiters, at the speed of `bytes.count`. Promises that no decoder that is used behind it (msgspec, pydantic, the standard
library) meets more values or a deeper nesting than the bounds say, whatever else is wrong with the body. A large body of few values passes.

Source: RFC 8259, sections 2, 7 and 9 ("An implementation may set limits on the maximum depth of nesting")
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import Final

_STRUCTURE: Final = b'"[]{},:'
_OTHERS: Final = bytes(set(range(256)) - set(_STRUCTURE))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""Of a signed byte: one level down, one level up."""


class BodyBounds:
    """Says which bodies are not decoded.

    Args:
        max_depth: Levels of arrays and objects in each other (`http.max_json_depth`).
        max_values: Members of all arrays and objects together (`http.max_json_values`).
    """

    __slots__ = ("_max_depth", "_max_values")

    def __init__(self, max_depth: int, max_values: int) -> None:
        self._max_depth = max_depth
        self._max_values = max_values

    def refusal(self, body: bytes) -> str | None:
        """Why a body is not decoded, in words for its sender; None for one that is. Never waits; some 10 ms for 4 MiB."""
        opened = body.count(b"[") + body.count(b"{")
        if opened <= self._max_depth and (len(body) <= self._max_values or opened + body.count(b",") <= self._max_values):
            return None  # and so are most, since delimiters within strings are counted too
        if b"\0" in body:  # UTF-16 or UTF-32, which json.loads reads: half a character may look like a quote
            return self._judge(opened + body.count(b","), opened)
        return self._scan(body)

    def _scan(self, body: bytes) -> str | None:
        """Count without strings."""
        if b"\\" in body:
            body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
        structure = body.translate(None, _OTHERS)
        if structure.count(b'"') > 4 * (self._max_values + 1):  # a value is one string at most, and its key another
            return self._judge(self._max_values + 1, 0)
        outside = structure.replace(b'""', b"")
        if b'"' in outside:
            outside = b"".join(outside.split(b'"')[::2])
        opened = outside.count(b"[") + outside.count(b"{")
        values = opened + outside.count(b",")
        if values > self._max_values or opened <= self._max_depth:
            return self._judge(values, 0)
        brackets = outside.translate(_STEPS, b",:")[: 2 * opened]  # more than twice as many do not match: no decoder gets so far
        return self._judge(values, max(accumulate(array("b", brackets))))

    def _judge(self, values: int, depth: int) -> str | None:
        if values > self._max_values:
            return f"The body has too many values: at most {self._max_values} are read (http.max_json_values)"
        if depth > self._max_depth:
            return f"The body is nested too deep: at most {self._max_depth} levels are read (http.max_json_depth)"
        return None

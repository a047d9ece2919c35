"""How many values a tool's result has, told before the SDK converts it.

The SDK makes a content block of each item of a list, and writes each value twice; the event loop stands still meanwhile. Promises that a
result of more than the bounds is its call's own error, at the cost of a walk that ends at the bound; a text or a number costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, cast

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

MAX_BLOCKS: Final = 10_000
"""Items of a list that become content: each takes 5 microseconds of the event loop in the modern era, 8 in a session: 80 ms."""

MAX_VALUES: Final = 50_000
"""As many as are read of a body (`http.max_json_values`), for the same reason: they take 20 to 30 ms."""

_SCALARS: Final = frozenset({str, int, float, bool, type(None), bytes})


def refuse_large(result: Any) -> None:
    """Look at what a tool returned. Never waits.

    Raises:
        ToolError: It has more values than are converted, in words for the caller.
    """
    if type(result) in _SCALARS:
        return
    left, values = [result], 0
    while left:
        items = _members(left.pop())
        values += len(items)
        if values > MAX_VALUES:
            raise ToolError(f"The result has too many values, or contains itself: at most {MAX_VALUES} are written")
        left.extend(item for item in items if type(item) not in _SCALARS)
    if isinstance(result, list | tuple) and _leaves(cast("list[Any]", result)) > MAX_BLOCKS:
        raise ToolError(f"The result has too many items: at most {MAX_BLOCKS} of a list become content. One object or text may hold more")


def _members(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return cast("dict[Any, Any]", value).values()
    if isinstance(value, list | tuple | set | frozenset):
        return cast("list[Any]", value)
    return vars(value).values() if isinstance(value, BaseModel) else ()


def _leaves(items: list[Any] | tuple[Any, ...]) -> int:
    """What becomes a block: lists within lists are one list."""
    left, leaves = [items], 0
    while left:
        for item in left.pop():
            if isinstance(item, list | tuple):
                left.append(cast("list[Any]", item))
            else:
                leaves += 1
    return leaves

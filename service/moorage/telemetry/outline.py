"""A traceback without the words of its exceptions.

Promises that nothing of a caller's is in it: the text of an exception quotes whatever went wrong, a file's name or a query just as a key.
Types, frames and lines of code are the program's. What this service says itself (`MoorageError`) is kept, and so is the number
of an `OSError`.
"""

from __future__ import annotations

import os
import traceback
from typing import Final, cast

from moorage.errors import MoorageError
from moorage.telemetry.redaction import cut

_CAUSED: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"
_MOST: Final = 10
"""Exceptions of a chain, and of a group, that are told; a chain may be as long as a loop that failed."""
_MOST_FRAMES: Final = 50
"""The innermost frames of one exception that are told; a recursion has a thousand."""
_MOST_WORDS: Final = 1000
"""Characters of what this service says itself."""
_MOST_CHARACTERS: Final = 32 * 1024
"""Of it all; a group of groups has its members' traces, each with theirs."""


def outline(error: BaseException) -> str:
    """Format an exception, its causes and the members of a group."""
    parts = [_one(error)]
    seen = {id(error)}
    current: BaseException = error
    while len(parts) < _MOST:
        earlier = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
        if earlier is None or id(earlier) in seen:
            break
        parts.append(_one(earlier) + (_CAUSED if current.__cause__ is not None else _DURING))
        seen.add(id(earlier))
        current = earlier
    return _within("".join(reversed(parts)).rstrip())


def name_of(error: BaseException) -> str:
    """The type of an exception as a traceback writes it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _within(text: str) -> str:
    """The text without its middle, where it is too long: what went wrong stands at its end, and what was the cause of it at its begin."""
    half = _MOST_CHARACTERS // 2
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:half]}\n…\n{text[-half:]}"


def _one(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__, -_MOST_FRAMES))
    head = f"Traceback (most recent call last):\n{frames}" if frames else ""
    title, members = name_of(error) + _words(error), ""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        told = "".join(f"member {number}:\n{outline(member)}\n" for number, member in enumerate(group.exceptions[:_MOST], 1))
        members = "".join(f"  | {line}\n" for line in told.splitlines())
    return f"{head}{title}\n{members}"


def _words(error: BaseException) -> str:
    if isinstance(error, MoorageError):
        return f": {cut(str(error), _MOST_WORDS)}"
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return f": [Errno {error.errno}] {os.strerror(error.errno)}"
    return ""

"""Whether a library still has the inner parts that are relied on.

Each module that reaches into a library's inside has one list of what it relies on, by class. It is looked through when the process
starts, so that another release ends the start, or takes a fall-back, with words, instead of failing in the middle of a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from types import CodeType
from typing import Any

from moorage.errors import MoorageError

Parts = Mapping[type[Any], tuple[str, ...]]
"""Names by class: of its attributes and methods, and of what its methods take, set or read."""


def missing(parts: Parts) -> list[str]:
    """The parts that are not there, as `Class.part`; does not wait."""
    return [f"{kind.__name__}.{part}" for kind, names in parts.items() for part in names if not _has(kind, part)]


def require(library: str, parts: Parts) -> None:
    """Go on only where every part is there; does not wait.

    Args:
        library: The name of its distribution.
        parts: What is relied on.

    Raises:
        MoorageError: Some part is missing.
    """
    if gone := missing(parts):
        message = f"{library} {installed(library)} does not have what moorage relies on: {', '.join(gone)}"
        raise MoorageError(message, f"install the release of {library} that moorage's own requirements name")


def _has(kind: type[Any], part: str) -> bool:
    return hasattr(kind, part) or any(part in code.co_names or part in code.co_varnames for code in _methods(kind))


def _methods(kind: type[Any]) -> Iterator[CodeType]:
    """The code in which an instance gets its attributes, of the class and those that it is made of."""
    for each in kind.__mro__:
        for method in vars(each).values():
            code = getattr(method, "__code__", None)
            if isinstance(code, CodeType):
                yield code


def installed(library: str) -> str:
    """The installed version of a distribution, for a message; does not wait."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "(of unknown version)"

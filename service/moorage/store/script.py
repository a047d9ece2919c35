"""The Lua scripts beside it, by name: every step in the store that has to be whole is one of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script.

    Attributes:
        text: Of it.
        sha: The digest under which the store keeps it.
        grows: Whether a full store refuses it.
    """

    text: str
    sha: str
    grows: bool


@cache
def script(name: str) -> Script:
    """The script in `scripts/<name>.lua`."""
    text = resources.files("moorage.store").joinpath(f"scripts/{name}.lua").read_text()
    grows = "flags=" not in text.partition("\n")[0]
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), grows)

"""The identity on whose behalf a request is served.

A value that every room may hold and log. Leaves how it was proved to `authn`.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody known.

    Attributes:
        name: Who it is; owner of sessions and subject of limits.
        key_id: Which of its keys was shown; it changes with rotation, so nothing may be owned by it.
        scopes: What it may do.
        anonymous: Whether nothing was shown at all.
    """

    name: str
    key_id: str
    scopes: frozenset[str] = frozenset()
    anonymous: bool = False


ANONYMOUS: Final = Principal(name="anonymous", key_id="", anonymous=True)

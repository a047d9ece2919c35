"""Where moorage means to answer otherwise than the SDK: each exchange by its name, with the reason and the answer that is right.

An entry whose two answers agree again is out of date and fails its test. Nothing gets in here because it was easier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """Our own answer: the status, and the JSON-RPC error's code and message (None where there is no body)."""

    reason: str
    status: int
    code: int | None = None
    message: str | None = None


DIFFERENCES: Mapping[str, Difference] = {}


@dataclass(frozen=True, slots=True)
class LegacyDifference:
    """Our own transcript of a script of the session era."""

    reason: str
    transcript: tuple[str, ...]


LEGACY_DIFFERENCES: Mapping[str, LegacyDifference] = {}

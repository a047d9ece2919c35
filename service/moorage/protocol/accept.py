"""Which media types a caller accepts, remembered by the bytes of its Accept header."""

from __future__ import annotations

from typing import Final, NamedTuple

_MAX_REMEMBERED: Final = 256


class MediaTypes(NamedTuple):
    """Whether an Accept header admits each of the two forms of an answer."""

    json: bool
    sse: bool


class Accepts:
    """Reads Accept headers; the memory is bounded, and a header beyond it is parsed each time."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes | None, MediaTypes] = {}

    def __call__(self, accept: bytes | None) -> MediaTypes:
        """Read one header."""
        known = self._known.get(accept)
        if known is None:
            known = _parse(accept or b"")
            if len(self._known) < _MAX_REMEMBERED:
                self._known[accept] = known
        return known


def _parse(accept: bytes) -> MediaTypes:
    types = {part.partition(b";")[0].strip().lower() for part in accept.split(b",")}
    every = b"*/*" in types
    return MediaTypes(
        json=every or not types.isdisjoint({b"application/json", b"application/*"}),
        sse=every or not types.isdisjoint({b"text/event-stream", b"text/*"}),
    )

"""Which media types a caller accepts, remembered by the bytes of its Accept header."""

from __future__ import annotations

from typing import Final, NamedTuple

from moorage.memo import BoundedMemo

_REMEMBERED: Final = 256
_REMEMBERED_BYTES: Final = 128 * 1024


class MediaTypes(NamedTuple):
    """Whether an Accept header admits each of the two forms of an answer."""

    json: bool
    sse: bool


class Accepts:
    """Reads Accept headers."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: BoundedMemo[bytes | None, MediaTypes] = BoundedMemo(entries=_REMEMBERED, max_bytes=_REMEMBERED_BYTES)

    def __call__(self, accept: bytes | None) -> MediaTypes:
        """Read one header."""
        known = self._known.get(accept)
        if known is None:
            known = self._known.put(accept, _parse(accept or b""), len(accept or b""))
        return known


def _parse(accept: bytes) -> MediaTypes:
    types = {part.partition(b";")[0].strip().lower() for part in accept.split(b",")}
    every = b"*/*" in types
    return MediaTypes(
        json=every or not types.isdisjoint({b"application/json", b"application/*"}),
        sse=every or not types.isdisjoint({b"text/event-stream", b"text/*"}),
    )

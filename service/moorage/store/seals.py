"""What of the store's content is sealed with the ring of the deployment, so that a writer in the store is not one of us.

An owner's entry (its id, and the address of its relay door) opens for that owner alone; a field of a session (how a call ends whose owner
is lost, what a client subscribed to) opens in that field of that session alone, and the names of streams hold their owner's epoch. What
does not open is nothing of ours.

Source: docs/decisions/2026-11-25-store-formats.md
"""

from __future__ import annotations

import base64
from typing import Final, Protocol

from moorage.store import address as addresses

PURPOSE: Final = "store"
"""What the sealer of this room is for."""

_ENTRY: Final = b"1"
"""Format of what is sealed; another one is of a later release."""


class Sealer(Protocol):
    """See `security.keyring.Sealer`, a room above this one."""

    @property
    def generation(self) -> int:
        """Grows with every change of the ring."""
        ...

    def seal(self, payload: bytes, context: bytes = b"") -> bytes:
        """Return the payload, sealed; only the same context opens it."""
        ...

    def open(self, sealed: bytes, context: bytes = b"") -> bytes | None:
        """Return the payload, or None for anything that was not sealed for this context."""
        ...


class Seals:
    """Seals and opens what this room keeps."""

    __slots__ = ("_entry", "_entry_of", "_sealer")

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._entry_of: tuple[str, str, int] = ("", "", -1)
        self._entry = b""

    def entry(self, owner: str, address: str) -> bytes:
        """The entry of an owner; sealed anew only when one of the two or the ring has changed."""
        wanted = (owner, address, self._sealer.generation)
        if wanted != self._entry_of:
            self._entry = self._seal(_ENTRY + address.encode(), _owner(owner))
            self._entry_of = wanted
        return self._entry

    def address(self, owner: str, entry: bytes) -> str | None:
        """The address in an owner's entry (`host:port`); None when nobody of us has sealed it for this owner."""
        opened = self._open(entry, _owner(owner))
        text = opened[1:].decode("ascii", "replace") if opened is not None and opened[:1] == _ENTRY else ""
        return text if addresses.parse(text) is not None else None

    def seal(self, tag: str, field: str, text: bytes) -> bytes:
        """What is kept in a field of a session."""
        return self._seal(_ENTRY + text, _field(tag, field))

    def open(self, tag: str, field: str, sealed: bytes) -> bytes | None:
        """What was sealed for this field of this session; None when nobody of us did."""
        opened = self._open(sealed, _field(tag, field))
        return opened[1:] if opened is not None and opened[:1] == _ENTRY else None

    def mark(self) -> bytes:
        """What shows others which ring we have."""
        return self._seal(b"", b"ring")

    def knows(self, mark: bytes) -> bool:
        """Whether a mark was made with a key of our ring."""
        return self._open(mark, b"ring") is not None

    def _seal(self, payload: bytes, context: bytes) -> bytes:
        return base64.urlsafe_b64encode(self._sealer.seal(payload, context))  # operators look into the store with tools for text

    def _open(self, sealed: bytes, context: bytes) -> bytes | None:
        try:
            return self._sealer.open(base64.urlsafe_b64decode(sealed), context)
        except ValueError:
            return None


def _owner(owner: str) -> bytes:
    return b"owner\0" + owner.encode("utf-8", "surrogatepass")


def _field(tag: str, field: str) -> bytes:
    return b"\0".join((b"session", tag.encode(), field.encode("utf-8", "surrogatepass")))

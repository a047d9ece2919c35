"""What a replica shows at another's relay door: who asks, for which owner, and for exactly which body.

Sealed with the shared ring, so that nobody else can make one, and bound to owner, method, session and body, so that it serves for
nothing else. Its age is told by the store's clock: the clocks of replicas play no part.

Source: docs/decisions/2026-11-24-relay.md
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from moorage.security.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.security.keyring import Sealer

PURPOSE: Final = "relay-hop"
HEADER: Final = b"x-moorage-hop"
MAX_AGE_SECONDS: Final = 30.0

_DIGEST_BYTES: Final = 16


class _Wire(msgspec.Struct, array_like=True):
    owner: str
    at: float
    digest: bytes
    name: str
    key_id: str
    scopes: tuple[str, ...]
    anonymous: bool


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Wire).decode


@dataclass(frozen=True, slots=True)
class Misdirected:
    """A hop of ours, for another owner: the one it is meant for is not here any more."""


@dataclass(frozen=True, slots=True)
class Hops:
    """Makes and reads them.

    Attributes:
        sealer: Of the purpose `PURPOSE`.
        clock: The store's, in seconds.
    """

    sealer: Sealer
    clock: Callable[[], float]

    def make(self, owner: str, method: str, session: bytes, body: bytes, principal: Principal) -> bytes:
        """The value of the header for one request to one owner."""
        scopes = tuple(sorted(principal.scopes))
        wire = _Wire(owner, self.clock(), _digest(method, session, body), principal.name, principal.key_id, scopes, principal.anonymous)
        return base64.urlsafe_b64encode(self.sealer.seal(_encode(wire)))

    def is_ours(self, header: bytes) -> bool:
        """Whether some replica with our keys made it; to be asked before anything of a stranger's is read."""
        return self._open(header) is not None

    def read(self, header: bytes, owner: str, method: str, session: bytes, body: bytes) -> Principal | Misdirected | None:
        """On whose behalf a request comes; None when no replica with our keys made it for these bytes, or not lately."""
        wire = self._open(header)
        if wire is None or wire.digest != _digest(method, session, body) or abs(self.clock() - wire.at) > MAX_AGE_SECONDS:
            return None
        if wire.owner != owner:
            return Misdirected()
        return Principal(wire.name, wire.key_id, frozenset(wire.scopes), wire.anonymous)

    def _open(self, header: bytes) -> _Wire | None:
        try:
            opened = self.sealer.open(base64.urlsafe_b64decode(header))
            return _decode(opened) if opened is not None else None
        except (ValueError, msgspec.MsgspecError):
            return None


def _digest(method: str, session: bytes, body: bytes) -> bytes:
    whole = hashlib.sha256(method.encode() + b"\0" + session + b"\0")
    whole.update(body)
    return whole.digest()[:_DIGEST_BYTES]

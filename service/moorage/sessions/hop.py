"""What a replica shows at another's relay door, and what the owner behind it shows in return.

A token says on whose behalf a request comes, for which owner at which address, and for exactly which method, target, header fields and
body. It is sealed with the shared ring, so that nobody else can make or read one, and serves once: its nonce is remembered by the door
(`nonces`) for as long as it is young enough. Its age is told by the store's clock: the clocks of replicas play no part.

The nonce is drawn anew for each request and travels only inside the token, so that whoever can open the token, and nobody else, can
answer it: the owner's proof is an HMAC under the nonce.

Source: docs/decisions/2026-11-25-relay-trust.md; RFC 2104; RFC 9110, 7.6.1
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import msgspec

from moorage.security.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.security.keyring import Sealer

Header = tuple[bytes, bytes]

PURPOSE: Final = "relay-hop"
HEADER: Final = b"x-moorage-hop"
PROOF: Final = b"x-moorage-proof"
TARGET: Final = b"/mcp"
FORMAT: Final = b"2"
"""Of token and proof, before the dot: replicas of two formats refuse each other's, and say so. What the first release made had none."""

MAX_AGE_SECONDS: Final = 30.0
"""Far longer than a connection and a loop that was blocked meanwhile take."""

MAX_AHEAD_SECONDS: Final = 10.0
"""How far two replicas' readings of the store's clock may differ: each is as old as its last heartbeat's answer was late."""

LIFE_SECONDS: Final = MAX_AGE_SECONDS + MAX_AHEAD_SECONDS
"""How long a token that was seen once would be served again."""

RETURNED: Final = frozenset(
    {b"content-type", b"mcp-session-id", b"mcp-protocol-version", b"retry-after", b"allow", b"www-authenticate", b"cache-control"}
)
"""Fields of an owner's answer that reach the client. All else belongs to the hop, is added by the replica that answers, or is forged."""

_NOT_BOUND: Final = frozenset({HEADER, b"content-length"})
_NONCE_BYTES: Final = 16
_VERSION: Final = re.compile(rb"([0-9]{1,9})\.")
_BY_NAME: Final = itemgetter(0)


class _Wire(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    nonce: bytes
    owner: str
    address: str
    at: float
    head: bytes
    body: bytes
    name: str
    key_id: str
    scopes: tuple[str, ...]
    anonymous: bool


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Wire).decode


class Refusal(Enum):
    """Why a door serves nothing. The value is a label of the metric."""

    STRANGER = "stranger"
    """There is no token, or none that the shared ring has sealed."""
    FORMAT = "unknown_format"
    """A token of another version of this program."""
    STALE = "stale"
    """Older or newer than a token may be."""
    ELSEWHERE = "elsewhere"
    """Meant for the door of another address."""
    ALTERED = "altered"
    """Method, target, header fields or body are not those that it was made for."""
    REPLAYED = "replayed"
    """It was here before."""
    FULL = "full"
    """So many came lately that no more can be remembered."""


@dataclass(frozen=True, slots=True)
class Pledge:
    """What the two ends of one hop share, and nobody between them: the owner proves its answer with it, the other replica checks.

    Attributes:
        nonce: Of the token.
        owner: Whom the request was meant for.
        session: Its session id, as in the header.
    """

    nonce: bytes = field(repr=False)
    owner: str
    session: bytes = field(repr=False)

    def prove(self, status: int, headers: Iterable[Header]) -> bytes:
        """The value of `PROOF` for an answer of this status and these fields; those that are not in `RETURNED` are not looked at."""
        told = _encode(("relay-answer", FORMAT, self.owner, self.session, status, sorted(returned(headers))))
        return FORMAT + b"." + base64.urlsafe_b64encode(hmac.digest(self.nonce, told, "sha256"))

    def is_kept(self, status: int, headers: Iterable[Header]) -> bool:
        """Whether an answer comes from a replica that could open the token. Its proof is among the fields; of two, none counts."""
        headers = list(headers)
        proofs = [value for name, value in headers if name.lower() == PROOF]
        return len(proofs) == 1 and hmac.compare_digest(proofs[0], self.prove(status, headers))


@dataclass(frozen=True, slots=True)
class Received:
    """A token that fits the head that it came with.

    Attributes:
        principal: On whose behalf the request comes.
        pledge: By which the answer is proved.
    """

    principal: Principal
    pledge: Pledge
    _body: bytes

    def fits(self, body: bytes) -> bool:
        """Whether this is the body that the token was made for."""
        return hmac.compare_digest(self._body, hashlib.sha256(body).digest())


@dataclass(frozen=True, slots=True)
class Hops:
    """Makes and reads them.

    Attributes:
        sealer: Of the purpose `PURPOSE`.
        clock: The store's, in seconds.
    """

    sealer: Sealer
    clock: Callable[[], float]

    def make(
        self, owner: str, address: str, method: str, headers: Iterable[Header], body: bytes, principal: Principal
    ) -> tuple[bytes, Pledge]:
        """The value of `HEADER` for one request to one owner at one address, and what its answer will be proved by.

        `headers` are all fields that are sent beside it, with names in lower case; Content-Length needs none, since the body is bound.
        """
        headers = list(headers)
        nonce = os.urandom(_NONCE_BYTES)
        wire = _Wire(
            nonce,
            owner,
            address,
            self.clock(),
            _head(method, TARGET, headers),
            hashlib.sha256(body).digest(),
            principal.name,
            principal.key_id,
            tuple(sorted(principal.scopes)),
            principal.anonymous,
        )
        token = FORMAT + b"." + base64.urlsafe_b64encode(self.sealer.seal(_encode(wire), FORMAT))
        return token, Pledge(nonce, owner, _session(headers))

    def read(self, address: str, method: str, target: bytes, headers: Iterable[Header]) -> Received | Refusal:
        """Judge a request by its head alone: what is refused here needs no look at its body.

        `address` is that of the door; `target` is path and query; `headers` are all fields, the token's among them.
        """
        headers = list(headers)
        wire = self._open(next((value for name, value in headers if name == HEADER), b""))
        if isinstance(wire, Refusal):
            return wire
        age = self.clock() - wire.at
        if not -MAX_AHEAD_SECONDS <= age <= MAX_AGE_SECONDS:
            return Refusal.STALE
        if wire.address != address:
            return Refusal.ELSEWHERE
        if not hmac.compare_digest(wire.head, _head(method, target, headers)):
            return Refusal.ALTERED
        principal = Principal(wire.name, wire.key_id, frozenset(wire.scopes), wire.anonymous)
        return Received(principal, Pledge(wire.nonce, wire.owner, _session(headers)), wire.body)

    def _open(self, token: bytes) -> _Wire | Refusal:
        version = _VERSION.match(token)
        if version is None or version[1] != FORMAT:
            return Refusal.STRANGER if version is None else Refusal.FORMAT
        try:
            opened = self.sealer.open(base64.urlsafe_b64decode(token[version.end() :]), FORMAT)
            return _decode(opened) if opened is not None else Refusal.STRANGER
        except (ValueError, msgspec.MsgspecError):
            return Refusal.STRANGER


def returned(headers: Iterable[Header]) -> list[Header]:
    """The fields of an answer that reach the client, with names in lower case."""
    return [(name, value) for name, value in ((name.lower(), value) for name, value in headers) if name in RETURNED]


def _session(headers: Iterable[Header]) -> bytes:
    return next((value for name, value in headers if name == b"mcp-session-id"), b"")


def _head(method: str, target: bytes, headers: Iterable[Header]) -> bytes:
    """The digest of a request's head. By name, because HTTP libraries put Host first; fields of one name keep their order."""
    bound = sorted(((name, value) for name, value in headers if name not in _NOT_BOUND), key=_BY_NAME)
    return hashlib.sha256(_encode((method, target, bound))).digest()

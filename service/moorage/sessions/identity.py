"""The id of a session: a sealed record of what re-creates the session in any process that has the keys.

Owns the text that travels as `Mcp-Session-Id`: `m1.` and base64url of the sealed record, at most 2,048 characters of visible ASCII.
Promises that an id which was not minted here (forged, cut, of another ring) or whose time is over is None, with nothing to tell one
from another. Leaves to others whether a session that was not ended by age still lives, and whether the caller is its owner.

Source: docs/decisions/2026-11-24-session-identity.md; MCP 2025-11-25, basic/transports, "Session Management".
"""

import base64
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from moorage.memo import BoundedMemo
from moorage.security.keyring import Sealer

PURPOSE: Final = "session-id"
"""What the sealer of session ids is for."""

PREFIX: Final = "m1."
MAX_ID_CHARACTERS: Final = 2048
"""nginx takes 8 KiB for a whole header line, other proxies 4."""

MAX_RECORD_BYTES: Final = 8 * 1024
"""Of a record before compression; what a client can make a process hold for one id."""

KEY_BYTES: Final = 16
MINT_BYTES: Final = 4

_REMEMBERED: Final = 1024
_REMEMBERED_BYTES: Final = 16 * 1024 * 1024
_UNPACKED: Final = 96
"""Bytes of memory that a byte of a record takes unpacked, at most: objects nested in objects do."""

_PLAIN: Final = b"\0"
_DEFLATED: Final = b"\1"


class ClientTooLarge(Exception):  # noqa: N818 - what it says is an answer to the client
    """What a client says of itself does not fit into a session id; the text is for the client."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """What a session began with. Shared by whoever opens its id: not to be changed inside either.

    Attributes:
        key: 16 random bytes that no other session has.
        created: Unix time, on the clock of the process that minted it.
        version: The negotiated protocol revision.
        client: The parameters of `initialize` without `protocolVersion` and `_meta`, as JSON has them.
        owner: Name of the principal; empty for nobody in particular.
        mint: 4 bytes that stand for the process that minted it.
    """

    key: bytes
    created: float
    version: str
    client: dict[str, Any]
    owner: str
    mint: bytes

    @property
    def tag(self) -> str:
        """22 characters that stand for the session in keys of the store and in event ids; they do not open it."""
        return _armour(self.key)


_Wire = tuple[
    Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)],
    float,
    str,
    dict[str, Any],
    str,
    Annotated[bytes, msgspec.Meta(min_length=MINT_BYTES, max_length=MINT_BYTES)],
]

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Wire)


class SessionIds:
    """Mints and opens session ids.

    Args:
        sealer: Of the purpose `PURPOSE`; an id opens wherever the ring is the same.
        mint: 4 bytes that stand for this process.
        lifetime_seconds: Age at which an id opens no more; None where a store knows which sessions live.
        clock: Unix time in seconds.
    """

    def __init__(self, sealer: Sealer, *, mint: bytes, lifetime_seconds: float | None, clock: Callable[[], float] = time.time) -> None:
        if len(mint) != MINT_BYTES:
            raise ValueError(f"mint is not {MINT_BYTES} bytes")
        self._sealer = sealer
        self._mint = mint
        self._lifetime = lifetime_seconds
        self._clock = clock
        self._opened: BoundedMemo[str, SessionRecord] = BoundedMemo(entries=_REMEMBERED, max_bytes=_REMEMBERED_BYTES)
        self._generation = sealer.generation

    def mint(self, version: str, client: dict[str, Any], owner: str) -> tuple[str, SessionRecord]:
        """Return the id of a new session, and what it stands for.

        Raises:
            ClientTooLarge: The id would be longer than proxies take.
        """
        record = SessionRecord(os.urandom(KEY_BYTES), self._clock(), version, client, owner, self._mint)
        name = PREFIX + _armour(self._sealer.seal(_pack(record)))
        if len(name) > MAX_ID_CHARACTERS:
            raise ClientTooLarge(
                "what the client says of itself (clientInfo, capabilities) does not fit into a session id:"
                f" it would have {len(name)} characters, at most {MAX_ID_CHARACTERS} are possible"
            )
        return name, record

    def open(self, name: str) -> SessionRecord | None:
        """Return what an id stands for, or None when it was not minted with a key of the ring or its time is over.

        A creation in the future is no fault: the clocks of two processes differ.
        """
        if self._generation != self._sealer.generation:
            self._generation = self._sealer.generation
            self._opened.clear()  # what a retired key has sealed opens no more
        record = self._opened.get(name)
        if record is None:
            record = self._unseal(name)
        if record is None or (self._lifetime is not None and self._clock() - record.created >= self._lifetime):
            return None
        return record

    @property
    def generation(self) -> int:
        """Grows with every change of the ring: what opened in an earlier one may open no more."""
        return self._sealer.generation

    def forget(self) -> None:
        """Remember no id that was opened before."""
        self._opened.clear()

    def _unseal(self, name: str) -> SessionRecord | None:
        if len(name) > MAX_ID_CHARACTERS or not name.startswith(PREFIX):
            return None
        sealed = _unarmour(name[len(PREFIX) :])
        payload = None if sealed is None else self._sealer.open(sealed)
        packed = None if payload is None else _inflate(payload)
        record = None if packed is None else _unpack(packed)
        if packed is not None and record is not None:
            self._opened.put(name, record, len(name) + _UNPACKED * len(packed))
        return record


def _pack(record: SessionRecord) -> bytes:
    fields = (record.key, record.created, record.version, record.client, record.owner, record.mint)
    try:
        packed = _encoder.encode(fields)
    except (OverflowError, RecursionError, ValueError) as exc:  # an integer beyond 64 bits, nesting without end, half a surrogate pair
        raise ClientTooLarge(
            "what the client says of itself (clientInfo, capabilities) holds a value that a session id cannot keep"
        ) from exc
    if len(packed) > MAX_RECORD_BYTES:
        raise ClientTooLarge(
            "what the client says of itself (clientInfo, capabilities) does not fit into a session id:"
            f" it has {len(packed)} bytes, at most {MAX_RECORD_BYTES} are possible"
        )
    deflated = zlib.compress(packed, level=6)
    return _DEFLATED + deflated if len(deflated) < len(packed) else _PLAIN + packed


def _inflate(payload: bytes) -> bytes | None:
    flag, content = payload[:1], payload[1:]
    if flag == _PLAIN:
        return content
    if flag != _DEFLATED:  # of a later release
        return None
    inflater = zlib.decompressobj()
    try:
        packed = inflater.decompress(content, MAX_RECORD_BYTES + 1)
    except zlib.error:
        return None
    whole = inflater.eof and not inflater.unused_data and len(packed) <= MAX_RECORD_BYTES
    return packed if whole else None


def _unpack(packed: bytes) -> SessionRecord | None:
    try:
        return SessionRecord(*_decoder.decode(packed))
    except (msgspec.MsgspecError, RecursionError):  # of a later release, or nested deeper than this stack is
        return None


def _armour(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _unarmour(text: str) -> bytes | None:
    """Return what a text stands for; of all the texts that a lenient reader takes for the same bytes, only one is right."""
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return content if _armour(content) == text else None

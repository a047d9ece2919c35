"""The ring of keys that seals what clients and other replicas hand back: session ids, `requestState`, hops of the relay.

A stored line is base64url of 32 random bytes. The first key seals, all of them open, so that a rotation is `old,new`, `new,old`, `new`,
each step everywhere before the next. Every purpose has a key of its own, derived from the stored one, so that nothing sealed for one
purpose opens for another. Promises that no text of a key reaches a message or a log, and that whoever presents something that was not
sealed here learns nothing but that. Leaves what is inside, and when it is too old, to whoever seals it.

Source: docs/decisions/2026-11-24-session-identity.md; RFC 5116; RFC 5869; NIST SP 800-38D, 8.3 (a key may seal 2**32 times).
"""

import base64
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from moorage.errors import SettingsError
from moorage.security.watched_file import Content, Unsettled, Unusable, WatchedFile
from moorage.settings import SecuritySettings

MAX_FILE_BYTES: Final = 64 * 1024
"""More than a thousand keys; a larger file is something else."""

OVERHEAD_BYTES: Final = 32
"""What sealing adds to a payload: key id, nonce and tag."""

_KEY_BYTES: Final = 32
_KEY_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = _KEY_ID_BYTES + _NONCE_BYTES
_LINE_HINT: Final = "a line is base64url of 32 random bytes; `moorage keys sealing` makes one"

_log = structlog.get_logger("moorage.security")


@dataclass(slots=True)
class _Sealed:
    """How often this process has sealed for one purpose, and how often of these before the first key of the ring was another."""

    total: int = 0
    before: int = 0


class SealingKeys:
    """The ring as it is now: fixed, in a file that may change at any time, or made by this process for itself.

    A changed file that cannot be used leaves the ring as it was for as long as that lasts, and says so in the log and in `fault`: without
    a ring every session would end.

    Attributes:
        generation: Grows with every change of the ring; for who remembers what was opened.
        shared: Whether other processes can have the same ring. One that the process made for itself ends with it.
        fault: What is wrong with the file at the moment, in words for the operator.
    """

    __slots__ = ("_file", "_ring", "_sealed", "fault", "generation", "shared")

    def __init__(self, ring: tuple[bytes, ...], *, shared: bool, file: WatchedFile | None = None) -> None:
        self._ring = ring
        self._file = file
        self._sealed: dict[str, _Sealed] = {}
        self.shared = shared
        self.generation = 0
        self.fault: str | None = None

    @classmethod
    def parse(cls, text: str, source: str = "security.sealing_keys") -> "SealingKeys":
        """Return the fixed ring of these lines; blank lines and lines that start with # are skipped.

        Raises:
            SettingsError: There is no key, one is there twice, or a line is none; it is named by number, never by content.
        """
        return cls(_parse(text, source), shared=True)

    @classmethod
    def from_file(cls, path: str | Path) -> "SealingKeys":
        """Return the ring of a file.

        Raises:
            SettingsError: The file cannot be used.
        """
        file = WatchedFile(path, what="sealing keys", max_bytes=MAX_FILE_BYTES, hint=_LINE_HINT)
        return cls(_load(file), shared=True, file=file)

    @classmethod
    def ephemeral(cls) -> "SealingKeys":
        """Return a ring that lives as long as this process and what it forks."""
        return cls((secrets.token_bytes(_KEY_BYTES),), shared=False)

    def __len__(self) -> int:
        return len(self._ring)

    def __repr__(self) -> str:
        return f"<{len(self)} sealing keys>"

    def look(self) -> Callable[[], bool] | None:
        """See whether the file changed. May block: to be called in a thread, about once a second, one look after the other.

        Returns:
            What to do about it on the event loop; it tells whether the ring is new.
        """
        if self._file is None:
            return None
        match self._file.look():
            case None | Unsettled():
                return None
            case Unusable(reason):
                return partial(self._keep, reason)
            case Content(text):
                try:
                    return partial(self._take, _parse(text, str(self._file.path)))
                except SettingsError as error:
                    return partial(self._keep, error.message)

    def refresh(self) -> bool:
        """Look, and act on it at once; True when the ring is new. May block."""
        act = self.look()
        return act is not None and act()

    def _take(self, ring: tuple[bytes, ...]) -> bool:
        self.fault = None
        if ring == self._ring:
            return False
        first, self._ring = self._ring[0], ring
        self.generation += 1
        if ring[0] != first:
            for sealed in self._sealed.values():
                sealed.before = sealed.total
        _log.info("sealing_keys.loaded", keys=len(self))
        return True

    def _keep(self, reason: str) -> bool:
        if self.fault != reason:
            self.fault = reason
            _log.error("sealing_keys.refused", reason=reason, kept=len(self))
        return False

    def sealer(self, purpose: str) -> "Sealer":
        """Return what seals for one purpose, now and after every change of the ring."""
        return Sealer(self, purpose, self._sealed.setdefault(purpose, _Sealed()))

    def sealed(self) -> Mapping[str, int]:
        """How many messages this process has sealed, by purpose."""
        return {purpose: sealed.total for purpose, sealed in self._sealed.items()}

    def sealed_since_rotation(self) -> Mapping[str, int]:
        """The same, under the key that seals now: each purpose has its own of it."""
        return {purpose: sealed.total - sealed.before for purpose, sealed in self._sealed.items()}

    def derive(self, purpose: str) -> list[tuple[bytes, AESGCM]]:
        """Return id and cipher of every key for one purpose; the first seals."""
        return [_derive(key, purpose) for key in self._ring]


class Sealer:
    """Seals and opens for one purpose.

    What is sealed is key id, nonce, ciphertext and tag. It is bound to its purpose and to the context it was sealed in, byte by byte.
    """

    __slots__ = ("_ciphers", "_generation", "_keys", "_label", "_purpose", "_seal_bound", "_seal_cipher", "_seal_id", "_sealed")

    def __init__(self, keys: SealingKeys, purpose: str, sealed: _Sealed) -> None:
        self._keys = keys
        self._sealed = sealed
        self._purpose = purpose
        self._label = purpose.encode() + b"\0"  # ends where the context begins
        self._derive()

    @property
    def generation(self) -> int:
        """The generation of the ring: what was opened in an earlier one may not open any more."""
        return self._keys.generation

    def seal(self, payload: bytes, context: bytes = b"") -> bytes:
        """Return the payload, sealed; only the same context opens it."""
        if self._generation != self._keys.generation:
            self._derive()
        self._sealed.total += 1
        nonce = os.urandom(_NONCE_BYTES)
        return self._seal_id + nonce + self._seal_cipher.encrypt(nonce, payload, self._seal_bound + context)

    def open(self, sealed: bytes, context: bytes = b"") -> bytes | None:
        """Return the payload, or None for anything that was not sealed here for this purpose and context."""
        if self._generation != self._keys.generation:
            self._derive()
        key_id = sealed[:_KEY_ID_BYTES]
        cipher = self._ciphers.get(key_id)
        if cipher is None or len(sealed) < OVERHEAD_BYTES:
            return None
        try:
            return cipher.decrypt(sealed[_KEY_ID_BYTES:_HEAD_BYTES], sealed[_HEAD_BYTES:], key_id + self._label + context)
        except InvalidTag:
            return None

    def _derive(self) -> None:
        derived = self._keys.derive(self._purpose)
        self._seal_id, self._seal_cipher = derived[0]
        self._seal_bound = self._seal_id + self._label
        self._ciphers = dict(reversed(derived))  # should ids ever be equal, what is sealed now opens
        self._generation = self._keys.generation


def sealing_keys(settings: SecuritySettings) -> SealingKeys:
    """Return the ring that the settings name, or else one of this process alone.

    Raises:
        SettingsError: The keys cannot be read.
    """
    if settings.sealing_keys_file is not None:
        return SealingKeys.from_file(settings.sealing_keys_file)
    if settings.sealing_keys is not None:
        return SealingKeys.parse(settings.sealing_keys.get_secret_value())
    return SealingKeys.ephemeral()


def generate() -> str:
    """Make a key; return the line to be stored."""
    return secrets.token_urlsafe(_KEY_BYTES)


def _load(file: WatchedFile) -> tuple[bytes, ...]:
    return _parse(file.read(), str(file.path))


def _parse(text: str, source: str) -> tuple[bytes, ...]:
    ring: dict[bytes, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not (entry := line.strip()) or entry.startswith("#"):
            continue
        key = _decode(entry)
        if key is None:
            raise SettingsError(f"{source}, line {number}: this is not a sealing key", _LINE_HINT)
        if key in ring:
            raise SettingsError(f"{source}, line {number}: the key of this line is there already", _LINE_HINT)
        ring[key] = None
    if not ring:
        raise SettingsError(f"{source}: there is no sealing key", _LINE_HINT)
    return tuple(ring)


def _decode(entry: str) -> bytes | None:
    text = entry.removesuffix("=")  # which base64url may have and ours has not
    try:
        key = base64.urlsafe_b64decode(text + "=")
    except ValueError:
        return None
    canonical = base64.urlsafe_b64encode(key).rstrip(b"=").decode() == text
    return key if canonical and len(key) == _KEY_BYTES else None


def _derive(key: bytes, purpose: str) -> tuple[bytes, AESGCM]:
    """Return the id and the cipher of a key; the id is output beside the derived key and says nothing about it."""
    info = f"moorage/{purpose}/v1".encode()
    derived = HKDF(SHA256(), _KEY_BYTES + _KEY_ID_BYTES, salt=None, info=info).derive(key)
    return derived[_KEY_BYTES:], AESGCM(derived[:_KEY_BYTES])

"""API keys: how they look, how they are stored, and how a changed file takes effect.

A key is `moor_` and 256 random bits. Stored is only its SHA-256, in lines `name:sha256hex`; several lines of one name are a rotation in
progress. A fast digest is enough, since what it hides is random and not a password. Promises that no text of a key or of a stored line
reaches a message or a log. Leaves reading the HTTP header to `authn`.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import structlog

from moorage.errors import SettingsError
from moorage.security.principal import Principal
from moorage.security.watched_file import WatchedFile
from moorage.settings import SecuritySettings

PREFIX: Final = "moor_"
MAX_FILE_BYTES: Final = 8 * 1024 * 1024
"""About 70,000 keys; a larger file is something else."""

_RANDOM_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,62}[A-Za-z0-9])?")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_KEY: Final = re.compile(r"moor_[A-Za-z0-9_-]{32,256}")
_LINE_HINT: Final = "a line is name:sha256hex; `moorage keys new NAME` makes one"

_log = structlog.get_logger("moorage.security")


class KeySource(Protocol):
    """Where the valid keys are."""

    @property
    def ring(self) -> "KeyRing":
        """The keys that are valid now."""
        ...

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after `ring` became another one."""
        ...

    def refresh(self) -> bool:
        """Look whether the keys changed, and tell. To be called on the event loop, now and then."""
        ...


class KeyRing:
    """The keys that are valid at one time."""

    __slots__ = ("_principals", "names")

    def __init__(self, principals: Mapping[bytes, Principal]) -> None:
        """Attributes: `names` are those who have a key."""
        self._principals = principals
        self.names = frozenset(principal.name for principal in principals.values())

    def __len__(self) -> int:
        return len(self._principals)

    @classmethod
    def parse(cls, text: str, source: str = "security.api_keys") -> "KeyRing":
        """Read lines `name:sha256hex`; blank lines and lines that start with # are skipped.

        Raises:
            SettingsError: A line is neither; it is named by number, never by content.
        """
        principals: dict[bytes, Principal] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if not (entry := line.strip()) or entry.startswith("#"):
                continue
            name, colon, digest = (part.strip() for part in entry.partition(":"))
            problem = _problem(name, colon, digest.lower())
            if problem:
                raise SettingsError(f"{source}, line {number}: {problem}", _LINE_HINT)
            key = bytes.fromhex(digest)
            if principals.get(key, _named(name, key)).name != name:
                raise SettingsError(f"{source}, line {number}: the key of this line belongs to another name already", _LINE_HINT)
            principals[key] = _named(name, key)
        return cls(principals)

    def lookup(self, token: str) -> Principal | None:
        """Return whose key this is.

        The time it takes says nothing about a valid key: what is looked up is a digest, and nobody can choose tokens whose digests come
        closer to a stored one.
        """
        return self._principals.get(_digest(token))


class FixedKeys:
    """Keys that were given by value and never change."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring

    def on_change(self, callback: Callable[[], None]) -> None:
        """Nothing will change."""

    def refresh(self) -> bool:
        """Nothing has changed."""
        return False


class KeyFile:
    """Keys in a file that may be replaced or rewritten at any time, as Kubernetes does with a mounted Secret.

    A file that cannot be used leaves the valid keys as they were, and says so once in the log.

    Raises:
        SettingsError: The file cannot be used at the start.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = WatchedFile(path, what="API keys", max_bytes=MAX_FILE_BYTES, hint=_LINE_HINT)
        self._callbacks: list[Callable[[], None]] = []
        self.ring = self._load()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after the file changed the keys."""
        self._callbacks.append(callback)

    def refresh(self) -> bool:
        """Read the file again if it is another one by time, size or inode; tell whether the keys are new."""
        if not self._file.changed():
            return False
        try:
            self.ring = self._load()
        except SettingsError as exc:
            _log.error("api_keys.refused", reason=exc.message, kept=len(self.ring))
            return False
        for callback in self._callbacks:
            callback()
        _log.info("api_keys.loaded", keys=len(self.ring), names=len(self.ring.names))
        return True

    def _load(self) -> KeyRing:
        return KeyRing.parse(self._file.read(), str(self._file.path))


def key_source(settings: SecuritySettings) -> KeySource | None:
    """Return where the settings say that the keys are, or None when they name none.

    Raises:
        SettingsError: The keys cannot be read.
    """
    source: KeySource | None = None
    if settings.api_keys_file is not None:
        source = KeyFile(settings.api_keys_file)
    elif settings.api_keys is not None:
        source = FixedKeys(KeyRing.parse(settings.api_keys.get_secret_value()))
    if source is not None and not len(source.ring):
        _log.warning("api_keys.empty", hint="every request that shows a key is refused")
    return source


def generate(name: str) -> tuple[str, str]:
    """Make a key; return its text, to be given to `name`, and the line to be stored.

    Raises:
        SettingsError: The name cannot be stored.
    """
    token = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    return token, stored_line(name, token)


def stored_line(name: str, token: str) -> str:
    """Return the line that stores a key.

    Raises:
        SettingsError: The name cannot be stored, or the text is not a key of ours.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{name!r} cannot name a key: use 1 to 64 letters, digits and . _ @ - inside")
    if not _KEY.fullmatch(token):
        raise SettingsError(
            "this is not an API key", "a key is moor_ and at least 32 letters, digits, - and _; `moorage keys new NAME` makes one"
        )
    return f"{name}:{_digest(token).hex()}"


def _problem(name: str, colon: str, digest: str) -> str | None:
    if not colon:
        return "there is no colon"
    if not _NAME.fullmatch(name):
        return "the name is not 1 to 64 letters, digits and . _ @ - inside"
    if not _DIGEST.fullmatch(digest):
        return "what follows the colon is not a SHA-256 in hexadecimal"
    return None


def _named(name: str, digest: bytes) -> Principal:
    return Principal(name, key_id=digest.hex()[:8])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()

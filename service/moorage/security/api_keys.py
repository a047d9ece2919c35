"""API keys: how they look, how they are stored, and how a changed file takes effect.

A key is `moor_` and 256 random bits. Stored is only its SHA-256, in lines `name:sha256hex`; several lines of one name are a rotation in
progress. A fast digest is enough, since what it hides is random and not a password. Of a file that changes while the process runs every
good line counts, and no other; while there is nothing usable the last keys are valid for a grace time, and then none is. Promises that no
text of a key or of a stored line reaches a message or a log. Leaves reading the HTTP header to `authn`.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import structlog

from moorage.errors import SettingsError
from moorage.security.principal import Principal
from moorage.security.watched_file import Content, Unsettled, Unusable, WatchedFile
from moorage.settings import SecuritySettings

PREFIX: Final = "moor_"
MAX_FILE_BYTES: Final = 8 * 1024 * 1024
"""About 70,000 keys; a larger file is something else."""

_RANDOM_BYTES: Final = 32
_TOLD_LINES: Final = 5
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

    def look(self) -> Callable[[], bool] | None:
        """See whether the keys changed. May block: to be called in a thread, about once a second, one look after the other.

        Returns:
            What to do about it on the event loop; it tells whether other keys are valid now.
        """
        ...

    @property
    def fault(self) -> str | None:
        """What is wrong with the source at the moment, in words for the operator."""
        ...


class KeyRing:
    """The keys that are valid at one time."""

    __slots__ = ("_principals", "names", "principals")

    def __init__(self, principals: Mapping[bytes, Principal]) -> None:
        """Attributes: `names` are those who have a key, `principals` what each key stands for."""
        self._principals = principals
        self.principals = frozenset(principals.values())
        self.names = frozenset(principal.name for principal in principals.values())

    def __len__(self) -> int:
        return len(self._principals)

    @classmethod
    def parse(cls, text: str, source: str = "security.api_keys") -> "KeyRing":
        """Read lines `name:sha256hex`; blank lines and lines that start with # are skipped.

        Raises:
            SettingsError: A line is neither; it is named by number, never by content.
        """
        ring, problems = cls.sieve(text)
        if problems:
            number, problem = problems[0]
            raise SettingsError(f"{source}, line {number}: {problem}", _LINE_HINT)
        return ring

    @classmethod
    def sieve(cls, text: str) -> tuple["KeyRing", list[tuple[int, str]]]:
        """Read the good lines, and say what is wrong with each other one, by its number."""
        principals: dict[bytes, Principal] = {}
        problems: list[tuple[int, str]] = []
        for number, line in enumerate(text.splitlines(), start=1):
            if not (entry := line.strip()) or entry.startswith("#"):
                continue
            name, colon, digest = (part.strip() for part in entry.partition(":"))
            problem = _problem(name, colon, digest.lower())
            key = b"" if problem else bytes.fromhex(digest)
            if not problem and principals.get(key, _named(name, key)).name != name:
                problem = "the key of this line belongs to another name already"
            if problem:
                problems.append((number, problem))
            else:
                principals[key] = _named(name, key)
        return cls(principals), problems

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

    def look(self) -> None:
        """Nothing has changed."""

    @property
    def fault(self) -> None:
        """Nothing can be wrong with them any more."""


class KeyFile:
    """Keys in a file that may be replaced or rewritten at any time, as Kubernetes does with a mounted Secret.

    Args:
        path: Of the file.
        grace_seconds: How long the last keys stay valid while the file is missing, empty, or nothing that could be read.
        clock: Monotonic, in seconds.

    Raises:
        SettingsError: The file cannot be used at the start.
    """

    def __init__(self, path: str | Path, grace_seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = WatchedFile(path, what="API keys", max_bytes=MAX_FILE_BYTES, hint=_LINE_HINT)
        self._grace = grace_seconds
        self._clock = clock
        self._callbacks: list[Callable[[], None]] = []
        self._unusable_since: float | None = None
        self.fault: str | None = None
        self.ring = KeyRing.parse(self._file.read(), str(self._file.path))

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after the file changed the keys."""
        self._callbacks.append(callback)

    def look(self) -> Callable[[], bool] | None:
        """See `KeySource`."""
        match self._file.look():
            case None:
                return None
            case Content(text):
                ring, problems = KeyRing.sieve(text)
                return partial(self._take, ring, problems)
            case Unsettled():
                return partial(self._wait, f"the API keys in {self._file.path} are being written")
            case Unusable(reason):
                return partial(self._wait, reason)

    def refresh(self) -> bool:
        """Look, and act on it at once; True when other keys are valid now. May block."""
        act = self.look()
        return act is not None and act()

    def _take(self, ring: KeyRing, problems: list[tuple[int, str]]) -> bool:
        self._unusable_since = None
        self.fault = None
        if problems:
            told = "; ".join(f"line {number}: {problem}" for number, problem in problems[:_TOLD_LINES])
            self.fault = f"{len(problems)} bad lines in {self._file.path} are left out ({told}): {_LINE_HINT}"
            _log.error(
                "api_keys.bad_lines", path=str(self._file.path), lines=[number for number, _ in problems[:_TOLD_LINES]], hint=_LINE_HINT
            )
        _log.info("api_keys.loaded", keys=len(ring), names=len(ring.names))
        return self._use(ring)

    def _wait(self, reason: str) -> bool:
        """Nothing usable is there: the last keys are valid until the grace time is over."""
        now = self._clock()
        if self._unusable_since is None:
            self._unusable_since = now
        left = self._grace - (now - self._unusable_since)
        effect = f"the last {len(self.ring)} keys stay valid for {self._grace:g} seconds" if left > 0 else "no key is valid"
        fault = f"{reason}: {effect}"
        if fault != self.fault and not reason.endswith("are being written"):
            _log.error("api_keys.unusable", reason=reason, effect=effect)
        self.fault = fault
        return left <= 0 and len(self.ring) > 0 and self._use(KeyRing({}))

    def _use(self, ring: KeyRing) -> bool:
        if ring.principals == self.ring.principals:
            return False
        self.ring = ring
        for callback in self._callbacks:
            callback()
        return True


def key_source(settings: SecuritySettings) -> KeySource | None:
    """Return where the settings say that the keys are, or None when they name none.

    Raises:
        SettingsError: The keys cannot be read.
    """
    source: KeySource | None = None
    if settings.api_keys_file is not None:
        source = KeyFile(settings.api_keys_file, settings.keys_grace_seconds)
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

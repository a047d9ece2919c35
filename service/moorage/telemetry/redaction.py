"""How a secret is written when it has to be written at all.

Owns the three reductions that logs and spans share: a session id to a hash, a URI to what names the resource, a text to itself
without keys.
"""

from __future__ import annotations

import hashlib
import re
from sys import getsizeof
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from moorage.memo import BoundedMemo

_SECRETS: Final = re.compile(r"(?i)\bbearer\s+[^\s'\",;]+|\bmoor_[\w-]+")
_MAX_URI: Final = 256
_MAX_READ: Final = 2048
"""Characters of a URI that are parsed: the standard library remembers each that it has parsed whole, and a caller sends up to 4 MiB."""

_DIGEST_BYTES: Final = 64

_digests: Final = BoundedMemo[str, str](entries=1024, max_bytes=1024 * 1024)


def short(session_id: str) -> str:
    """Return what may be written of a session id: enough to find its events, useless to join it."""
    return _digests.get(session_id) or _digests.put(session_id, _digest(session_id), getsizeof(session_id) + _DIGEST_BYTES)


def _digest(session_id: str) -> str:
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def forget_digests() -> None:
    """Remember no session id."""
    _digests.clear()


def redact(text: str) -> str:
    """Return a text without bearer tokens and without keys of our own making."""
    return _SECRETS.sub("[redacted]", text)


def cut(text: str, most: int) -> str:
    """Return a text of so many characters at most, and a mark where there were more."""
    return text if len(text) <= most else text[:most] + "…"


def safe_uri(uri: str) -> str:
    """Return a URI without user information, query and fragment, of bounded length."""
    head = uri[:_MAX_READ]
    is_cut = len(head) < len(uri)
    if is_cut or "?" in head or "#" in head or "@" in head:
        try:
            parts = urlsplit(head)
        except ValueError:
            return "[malformed]"
        if is_cut and parts.netloc and not any(parts[2:]):
            return "[malformed]"  # a host of this length: what is left may be user information, whose end was cut
        head = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return head[:_MAX_URI]

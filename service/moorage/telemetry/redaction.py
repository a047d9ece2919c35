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


def safe_uri(uri: str) -> str:
    """Return a URI without user information, query and fragment, of bounded length."""
    if "?" in uri or "#" in uri or "@" in uri:
        try:
            parts = urlsplit(uri)
        except ValueError:
            return "[malformed]"
        uri = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return uri[:_MAX_URI]

"""From the Authorization header to a principal, or to the challenge that is sent instead.

Promises one dictionary lookup for a header that was accepted before, and that a revoked key is refused as soon as its source changed.
Only the header counts: a token in a query string or a body is never looked at. Leaves what a principal may do to others.

Source: RFC 6750, section 2.1.
"""

import re
from typing import Final

from moorage.security.api_keys import KeySource
from moorage.security.challenge import INVALID, MISSING, Challenge
from moorage.security.memo import MAX_VALUE_BYTES, remember
from moorage.security.principal import ANONYMOUS, Principal

_CREDENTIALS: Final = re.compile(rb"[ \t]*bearer(?:[ \t]+([A-Za-z0-9._~+/-]+=*))?[ \t]*", re.IGNORECASE)
_BEARER: Final = re.compile(rb"[ \t]*bearer(?:[ \t]|$)", re.IGNORECASE)


class Authenticator:
    """Decides who asks.

    Args:
        source: The valid keys; None when there are none to show.
        anonymous: Whether a request that shows no key is served. One that shows a wrong key is refused all the same.
    """

    __slots__ = ("_known", "_source", "_unnamed")

    def __init__(self, source: KeySource | None, *, anonymous: bool) -> None:
        self._source = source
        self._unnamed: Principal | Challenge = ANONYMOUS if anonymous else MISSING
        self._known: dict[bytes | None, Principal] = {}
        if source is not None:
            source.on_change(self._known.clear)

    def authenticate(self, raw: bytes | None) -> Principal | Challenge:
        """Return who the value of the Authorization header stands for; None is a request without one."""
        known = self._known.get(raw)
        return known if known is not None else self._consider(raw)

    def refresh(self) -> bool:
        """Look whether the keys changed, and tell; call it on the event loop about once a second."""
        return self._source is not None and self._source.refresh()

    def _consider(self, raw: bytes | None) -> Principal | Challenge:
        if raw is None or self._source is None or not _BEARER.match(raw):
            return self._unnamed
        credentials = _CREDENTIALS.fullmatch(raw) if len(raw) <= MAX_VALUE_BYTES else None
        if credentials is None or credentials[1] is None:
            return INVALID
        principal = self._source.ring.lookup(credentials[1].decode("ascii"))
        return INVALID if principal is None else remember(self._known, raw, principal)

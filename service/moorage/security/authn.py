"""From the Authorization header to a principal, or to the challenge that is sent instead.

Promises one dictionary lookup for a header that was accepted before, and that a revoked key is refused as soon as its source changed.
Only the header counts: a token in a query string or a body is never looked at. Leaves what a principal may do to others.

Source: RFC 6750, section 2.1.
"""

import re
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from moorage.memo import BoundedMemo
from moorage.security.api_keys import KeySource
from moorage.security.bounds import MAX_VALUE_BYTES, REMEMBERED, REMEMBERED_BYTES
from moorage.security.challenge import INVALID, MISSING, Challenge
from moorage.security.principal import ANONYMOUS, Principal

REMIND_SECONDS: Final = 60.0
"""How long after a revocation what it concerns is looked for: longer than a request takes from its head to its first step."""

MOST_REVOKED: Final = 10_000
"""Revoked keys that are remembered, the newest: for as long as other replicas may not have heard of them."""

_CREDENTIALS: Final = re.compile(rb"[ \t]*bearer(?:[ \t]+([A-Za-z0-9._~+/-]+=*))?[ \t]*", re.IGNORECASE)
_BEARER: Final = re.compile(rb"[ \t]*bearer(?:[ \t]|$)", re.IGNORECASE)


class Authenticator:
    """Decides who asks.

    Args:
        source: The valid keys; None when there are none to show.
        anonymous: Whether a request that shows no key is served. One that shows a wrong key is refused all the same.
        clock: Monotonic, in seconds.

    Attributes:
        generation: Grows with every change of the keys: who was known before may be so no more.
    """

    __slots__ = ("_callbacks", "_clock", "_known", "_remind_until", "_revoked", "_source", "_unnamed", "_valid", "generation")

    def __init__(self, source: KeySource | None, *, anonymous: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._unnamed: Principal | Challenge = ANONYMOUS if anonymous else MISSING
        self._known: BoundedMemo[bytes | None, Principal] = BoundedMemo(entries=REMEMBERED, max_bytes=REMEMBERED_BYTES)
        self._callbacks: list[Callable[[frozenset[Principal]], None]] = []
        self._valid: frozenset[Principal] = frozenset() if source is None else source.ring.principals
        self._revoked: dict[Principal, None] = {}  # no memo: what is forgotten is what other replicas still let in
        self._clock = clock
        self._remind_until = 0.0
        self.generation = 0
        if source is not None:
            source.on_change(partial(self._start_over, source))

    def authenticate(self, raw: bytes | None) -> Principal | Challenge:
        """Return who the value of the Authorization header stands for; None is a request without one."""
        known = self._known.get(raw)
        return known if known is not None else self._consider(raw)

    def on_revoked(self, callback: Callable[[frozenset[Principal]], None]) -> None:
        """Have `callback` called with what keys stood for that were valid and are no more: each by name and id of the key."""
        self._callbacks.append(callback)

    def remind(self) -> None:
        """Tell of the keys that were revoked lately once more: a request may have been let in just before, and have begun just after."""
        if self._revoked and self._clock() < self._remind_until:
            for callback in self._callbacks:
                callback(frozenset(self._revoked))

    def has_revoked(self, principal: Principal) -> bool:
        """Whether a principal's key was valid here and is no more: another replica that vouches for it has not heard of that yet."""
        return principal in self._revoked

    def _start_over(self, source: KeySource) -> None:
        before, self._valid = self._valid, source.ring.principals
        self.generation += 1
        self._known.clear()
        gone = before - self._valid
        for principal in self._valid:
            self._revoked.pop(principal, None)
        self._revoked.update(dict.fromkeys(gone))
        while len(self._revoked) > MOST_REVOKED:
            del self._revoked[next(iter(self._revoked))]
        if gone:
            self._remind_until = self._clock() + REMIND_SECONDS
            for callback in self._callbacks:
                callback(gone)

    def _consider(self, raw: bytes | None) -> Principal | Challenge:
        if raw is None or self._source is None or not _BEARER.match(raw):
            return self._unnamed
        credentials = _CREDENTIALS.fullmatch(raw) if len(raw) <= MAX_VALUE_BYTES else None
        if credentials is None or credentials[1] is None:
            return INVALID
        principal = self._source.ring.lookup(credentials[1].decode("ascii"))
        return INVALID if principal is None else self._known.put(raw, principal, len(raw))

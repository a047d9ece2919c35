"""The resources whose changes one session's client wants to hear of: bounded, and what of them the store does not know yet.

Source: MCP 2025-11-25, server/resources, "Subscriptions"
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from moorage.protocol.refusals import Refusal

if TYPE_CHECKING:
    from moorage.store.sessions import Lease

MOST: Final = 1000
"""Of one session."""

LONGEST: Final = 2048
"""Bytes of one URI."""

MOST_BYTES: Final = 64 * 1024
"""Of all URIs of one session."""

NO_ROOM: Final = Refusal("subscription_limit", "The session has no room for another subscription: unsubscribe from something first")
_ODD: Final = Refusal("subscription_limit", f"A URI that is subscribed to has at most {LONGEST} bytes, and is text")


class Subscriptions:
    """Those of one session.

    Attributes:
        uris: What is subscribed to.
    """

    __slots__ = ("_bytes", "_unsaved", "uris")

    def __init__(self, uris: Collection[str] = ()) -> None:
        self.uris = set(uris)
        self._bytes = sum(len(uri.encode()) for uri in uris)
        self._unsaved: dict[str, bool] = {}

    def refuses(self, uri: str) -> Refusal | None:
        """Why this one cannot be added, if there is a reason."""
        try:
            size = len(uri.encode())
        except UnicodeEncodeError:
            return _ODD
        if uri in self.uris:
            return None
        if size > LONGEST:
            return _ODD
        return NO_ROOM if len(self.uris) >= MOST or self._bytes + size > MOST_BYTES else None

    def change(self, uri: str, *, wanted: bool) -> None:
        """Add or take away."""
        if wanted == (uri in self.uris):
            return
        self._bytes += len(uri.encode()) * (1 if wanted else -1)
        (self.uris.add if wanted else self.uris.discard)(uri)
        self._unsaved[uri] = wanted

    async def save(self, lease: Lease) -> bool:
        """Have the store know what it does not know yet; False when the session has no room there.

        Raises:
            Fenced, StoreUnavailable, StoreFull: What was to be saved is still to be.
        """
        changes = self._unsaved
        if not changes:
            return True
        self._unsaved = {}
        try:
            return await lease.watch(changes)
        except BaseException:  # whatever ended it, the cancellation of the request among them: the store may not know
            self._unsaved = {**changes, **self._unsaved}
            raise

    def forgive(self, uris: Iterable[str]) -> None:
        """Take back what was added and nobody could save."""
        for uri in uris:
            self.change(uri, wanted=False)
            self._unsaved.pop(uri, None)

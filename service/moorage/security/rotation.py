"""When sealing keys have sealed enough.

AES-GCM with random nonces is good for 2**32 messages under one key (NIST SP 800-38D, 8.3: a repeated nonce stays less likely than 2**-32);
beyond, what two messages hide begins to show, and forging becomes possible. Each purpose has a key of its own, so each counts by itself.
What a process cannot see is what the others sealed, and what pods before it did: its share is the whole, divided by the processes that the
settings name and by a margin for those that they do not. Leaves rotating to the operator, who has the calendar (docs/deploying.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.security.keyring import SealingKeys

MOST_SEALED: Final = 2**32
"""Messages under one key, in a whole deployment."""

MARGIN: Final = 16
"""How many times as much as by the processes of now may have been sealed: by those that they replaced, and by more pods than named."""

_SAID_EVERY_SECONDS: Final = 86_400.0

_log = structlog.get_logger("moorage.security")


class Rotation:
    """Watches what the keys of one process have sealed.

    Args:
        keys: The ring.
        processes: That seal with it, as far as the settings know.
        clock: Seconds; never goes back.
        whole: Messages under one key in the deployment.
    """

    def __init__(self, keys: SealingKeys, processes: int, clock: Callable[[], float], *, whole: int = MOST_SEALED) -> None:
        self._keys = keys
        self._clock = clock
        self._said = float("-inf")
        self.share = max(1, whole // (MARGIN * processes))

    def due(self) -> str | None:
        """Why the keys are to be rotated, when they are. Neither waits nor reads."""
        counts = self._keys.sealed_since_rotation()
        purpose = max(counts, key=counts.__getitem__, default="")
        if not purpose or counts[purpose] < self.share:
            return None
        how = "rotate the sealing keys" if self._keys.shared else "restart this process, or give it sealing keys that can be rotated"
        return f"this process has sealed {counts[purpose]:,} messages ({purpose}) with one key, its share is {self.share:,}: {how}"

    def tell(self) -> None:
        """Write a warning when a rotation is due, once a day. To be called now and then."""
        reason, now = self.due(), self._clock()
        if reason is not None and now - self._said >= _SAID_EVERY_SECONDS:
            self._said = now
            _log.warning("sealing_keys.rotation_due", reason=reason)

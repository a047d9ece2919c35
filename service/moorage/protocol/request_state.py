"""`requestState` under the ring that all replicas share, so that any of them opens what another sealed.

Source: docs/decisions/2026-11-24-session-identity.md; MCP 2026-07-28, basic/patterns/mrtr
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from mcp.server.request_state import InvalidRequestState, RequestStateCodec

if TYPE_CHECKING:
    from moorage.security.keyring import Sealer

PURPOSE: Final = "request-state"
_PREFIX: Final = "m1."


class SharedCodec(RequestStateCodec):
    """Seals with the ring; opens what the server's own keys sealed as well, which is how a rollout begins.

    Expiry, audience, principal and the request that a state belongs to are the SDK's business, as before.
    """

    def __init__(self, sealer: Sealer, own: RequestStateCodec) -> None:
        self._sealer = sealer
        self._own = own

    def seal(self, payload: bytes) -> str:
        """See `RequestStateCodec`."""
        return _PREFIX + base64.urlsafe_b64encode(self._sealer.seal(payload)).rstrip(b"=").decode()

    def unseal(self, token: str) -> bytes:
        """See `RequestStateCodec`."""
        if not token.startswith(_PREFIX):
            return self._own.unseal(token)
        text = token[len(_PREFIX) :]
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raise InvalidRequestState("malformed") from None
        if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != text or (payload := self._sealer.open(sealed)) is None:
            raise InvalidRequestState("seal")
        return payload

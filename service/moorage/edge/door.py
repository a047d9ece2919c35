"""The relay door: requests that another replica has judged and passed on, for sessions that this process owns.

Promises that nothing is served which was not sealed with the shared ring for this owner, this session and these bytes; that a request is
served here or refused (403 for a stranger, 421 for what is meant for another owner), and never passed on again. Everything that the public
port checks was checked there.

Source: docs/decisions/2026-11-24-relay.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from moorage.protocol.exchange import BodyStalled, BodyTooLarge, ClientLeft, Header, HttpExchange
from moorage.security.principal import Principal
from moorage.sessions.hop import HEADER, Misdirected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Scope, Send

    from moorage.protocol.replication import Replication
    from moorage.protocol.service import McpService
    from moorage.settings import HttpSettings
    from moorage.telemetry.observer import Observer

INVALID_REQUEST: Final = -32600
INTERNAL_ERROR: Final = -32603

log = structlog.get_logger("moorage.edge")


class Door:
    """The ASGI application behind the relay's port."""

    def __init__(self, service: McpService, replication: Replication, observer: Observer, limits: HttpSettings) -> None:
        self._service = service
        self._replication = replication
        self._observer = observer
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP exchange."""
        headers = dict(reversed(scope["headers"]))
        http = HttpExchange(scope, receive, send, headers, self._observer.exchange(scope, headers))
        try:
            await self._serve(http)
        except (ClientLeft, BodyStalled):
            http.ended = True
        except BodyTooLarge:
            await http.respond_error(413, INVALID_REQUEST, "Request body too large")
        except Exception:  # boundary: one exchange's fault must not reach another, nor the other replica with its words
            log.exception("http.failed")
            await http.respond_error(500, INTERNAL_ERROR, "Internal server error")
        finally:
            http.finish()

    async def _serve(self, http: HttpExchange) -> None:
        method, hop = http.scope["method"], http.headers.get(HEADER, b"")
        if not self._replication.hops.is_ours(hop):
            await self._refuse_stranger(http, [(b"connection", b"close")])  # nothing of its body was read
            return
        body = await http.read_body(self._limits.max_body_bytes, self._limits.body_timeout_seconds)
        owner, session = self._replication.owner, http.headers.get(b"mcp-session-id", b"").strip()
        principal = self._replication.hops.read(hop, owner.id, method, session, body)
        match principal:
            case None:
                await self._refuse_stranger(http)
            case Misdirected():
                await http.respond_error(421, INVALID_REQUEST, "Not for this replica")
            case Principal() if not owner.alive:
                await http.respond_error(421, INVALID_REQUEST, "This replica owns nothing at the moment")
            case Principal():
                http.principal = principal
                http.observed.principal = principal.name
                await self._service.serve_relayed(http)

    @staticmethod
    async def _refuse_stranger(http: HttpExchange, headers: Iterable[Header] = ()) -> None:
        log.warning("relay.refused", client=http.observed.peer, hint="not sealed with these keys: do all replicas share them?")
        await http.respond_error(403, INVALID_REQUEST, "Not from a replica with these keys", headers=headers)

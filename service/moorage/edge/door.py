"""The relay door: requests that another replica has judged and passed on, for sessions that this process owns.

Promises that nothing is served which was not sealed with the shared ring for this door, this owner and these bytes, or was served before;
that a request is served here or refused (403 for a stranger, 421 for what is meant for another owner), and never passed on again; and that
the answer to whatever is no stranger's proves that it comes from here. Everything that the public port checks was checked there.

Order: token, its age, its address, the head that it was made for (403), its nonce (403, 503), of a stranger nothing more is read; key
(401), bodies being read (429, 503), body (413), its digest (403), owner (421), protocol.

Source: docs/decisions/2026-11-24-relay.md, 2026-11-25-relay-trust.md
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from moorage.edge.bodies import BodyBudget, BodyRefused, declared_bytes
from moorage.lifecycle.supervised import is_end_of_task
from moorage.log_limit import LogLimit
from moorage.protocol.exchange import BodyStalled, BodyTooLarge, ClientLeft, Header, HttpExchange
from moorage.protocol.refusals import refuse
from moorage.security.challenge import INVALID
from moorage.sessions.hop import FORMAT, HEADER, PROOF, Pledge, Received, Refusal
from moorage.sessions.nonces import Nonces

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from moorage.protocol.replication import Replication
    from moorage.protocol.service import McpService
    from moorage.security.authn import Authenticator
    from moorage.telemetry.observer import Observer

INVALID_REQUEST: Final = -32600
INTERNAL_ERROR: Final = -32603
_CLOSE: Final[Header] = (b"connection", b"close")

_WORDS: Final = {
    Refusal.STRANGER: "Not from a replica with these keys",
    Refusal.FORMAT: f"The relay token has another format than {FORMAT.decode()}, the only one that this version reads",
    Refusal.STALE: "The relay token is too old, or from the future",
    Refusal.ELSEWHERE: "The relay token is for another address",
    Refusal.ALTERED: "The relay token was made for another request",
    Refusal.REPLAYED: "The relay token was used before",
    Refusal.FULL: "Too many relayed requests at once",
}
_HINTS: Final = {
    Refusal.STRANGER: "not sealed with these keys: do all replicas share them?",
    Refusal.FORMAT: "replicas of two versions: this ends with the rollout",
    Refusal.STALE: "has the store's clock jumped, or is somebody replaying?",
}
_ANOTHERS_HINT: Final = "somebody between the replicas changes or repeats requests"

log = structlog.get_logger("moorage.edge")


class Door:
    """The ASGI application behind the relay's port."""

    def __init__(
        self, service: McpService, replication: Replication, observer: Observer, *, authenticator: Authenticator, bodies: BodyBudget
    ) -> None:
        self._service = service
        self._replication = replication
        self._observer = observer
        self._authenticator = authenticator
        self._bodies = bodies
        self._nonces = Nonces()
        self._log_limit = LogLimit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP exchange."""
        # A tool behind this door has no business with the token.
        within = {**scope, "headers": [header for header in scope["headers"] if header[0] != HEADER]}
        headers = dict(reversed(within["headers"]))
        proving = _Proving(send)
        http = HttpExchange(within, receive, proving, headers, self._observer.exchange(within, headers))
        try:
            received = self._judge(scope)
            if isinstance(received, Refusal):
                await self._refuse(http, received)
            else:
                proving.pledge = received.pledge
                await self._serve(http, received, proving)
        except (ClientLeft, BodyStalled):
            http.ended = True
        except BodyRefused as refused:
            await refuse(http, refused.refusal)
        except BodyTooLarge:
            await http.respond_error(413, INVALID_REQUEST, "Request body too large")
        except BaseException as error:  # boundary: one exchange's fault must not reach another, nor the other replica with its words
            if is_end_of_task(error):
                raise
            log.exception("http.failed")
            await http.respond_error(500, INTERNAL_ERROR, "Internal server error")
        finally:
            http.finish()

    def _judge(self, scope: Scope) -> Received | Refusal:
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        received = self._replication.hops.read(self._replication.address, scope["method"], target, scope["headers"])
        if isinstance(received, Refusal):
            return received
        return self._nonces.claim(received.pledge.nonce, asyncio.get_running_loop().time()) or received

    async def _serve(self, http: HttpExchange, received: Received, proving: _Proving) -> None:
        http.principal = received.principal
        http.observed.principal = received.principal.name
        if self._authenticator.has_revoked(received.principal):
            await http.respond(INVALID.status, INVALID.body, [*INVALID.headers, _CLOSE])
            return
        body = await self._bodies.read(http, declared_bytes(http))
        owner = self._replication.owner
        if not received.fits(body):
            proving.pledge = None
            await self._refuse(http, Refusal.ALTERED)
        elif received.pledge.owner != owner.id:
            await http.respond_error(421, INVALID_REQUEST, "Not for this replica")
        elif not owner.alive:
            await http.respond_error(421, INVALID_REQUEST, "This replica owns nothing at the moment")
        else:
            await self._service.serve_relayed(http)

    async def _refuse(self, http: HttpExchange, refusal: Refusal) -> None:
        """Refuse before anything was done for the request."""
        self._observer.instruments.relay_refused(refusal.value)
        http.observed.reason = "relay_refused"
        if (left_out := self._log_limit.due(refusal.value)) is not None:
            hint = _HINTS.get(refusal, _ANOTHERS_HINT)
            log.warning("relay.refused", reason=refusal.value, client=http.observed.peer, left_out=left_out, hint=hint)
        await http.respond_error(503 if refusal is Refusal.FULL else 403, INVALID_REQUEST, _WORDS[refusal], headers=[_CLOSE])


class _Proving:
    """An ASGI `send` that adds to the head of an answer what proves whose it is.

    Attributes:
        pledge: By what; None proves nothing.
    """

    __slots__ = ("_send", "pledge")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.pledge: Pledge | None = None

    async def __call__(self, message: Message) -> None:
        if self.pledge is not None and message["type"] == "http.response.start":
            headers = message.get("headers", ())
            message = {**message, "headers": [*headers, (PROOF, self.pledge.prove(message["status"], headers))]}
        await self._send(message)

"""`/mcp` as bare ASGI: every check that needs no body, in the order of its cost, then the protocol.

Order: Host (421), Origin (403), preflight (204), caller (401), declared size (413), bodies being read (429, 503),
body (408, 413), protocol.
Nothing of a body is read before its sender is known, and nothing is routed by a header that was not checked against the body.
Source: MCP 2026-07-28, basic/transports, "Security Warning"; docs/architecture.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog

from moorage.edge.bodies import BodyBudget, BodyRefused, declared_bytes
from moorage.lifecycle.supervised import is_end_of_task
from moorage.protocol.exchange import BodyStalled, BodyTooLarge, ClientLeft, Header, HttpExchange
from moorage.protocol.refusals import refuse
from moorage.security.challenge import Challenge

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from moorage.lifecycle.phase import Lifecycle
    from moorage.limits.tenants import Tenants
    from moorage.protocol.service import McpService
    from moorage.security.authn import Authenticator
    from moorage.security.cors import Cors
    from moorage.security.hosts import HostPolicy, OriginPolicy
    from moorage.settings import HttpSettings
    from moorage.telemetry.observer import Observer

INVALID_REQUEST: Final = -32600
INTERNAL_ERROR: Final = -32603
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
CLOSE: Final[Header] = (b"connection", b"close")

log = structlog.get_logger("moorage.edge")


class Gateway:
    """The ASGI application behind `/mcp`."""

    def __init__(
        self,
        service: McpService,
        observer: Observer,
        lifecycle: Lifecycle,
        *,
        hosts: HostPolicy,
        origins: OriginPolicy,
        cors: Cors,
        authenticator: Authenticator,
        tenants: Tenants,
        bodies: BodyBudget,
        limits: HttpSettings,
        allow_anonymous: bool,
    ) -> None:
        self._service = service
        self._observer = observer
        self._lifecycle = lifecycle
        self._hosts = hosts
        self._origins = origins
        self._cors = cors
        self._authenticator = authenticator
        self._tenants = tenants
        self._bodies = bodies
        self._limits = limits
        self._allow_anonymous = allow_anonymous

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP exchange."""
        headers = dict(reversed(scope["headers"]))  # of a repeated header the first counts, as in Starlette and the SDK
        http = HttpExchange(scope, receive, send, headers, self._observer.exchange(scope, headers))
        try:
            await self._serve(http)
        except ClientLeft:
            http.ended = True
        except BaseException as error:  # boundary: one exchange's fault must not reach another, nor the client with its words
            if is_end_of_task(error):
                raise
            log.exception("http.failed")
            await http.respond_error(500, INTERNAL_ERROR, "Internal server error")
        finally:
            http.finish()

    async def _serve(self, http: HttpExchange) -> None:
        if self._lifecycle.draining:
            http.extra_headers.append(CLOSE)
        if not await self._admit(http):
            return
        known = self._authenticator.generation
        if http.scope["method"] == "POST" and not await self._read(http):
            return
        if known != self._authenticator.generation and not await self._is_still_known(http):
            return
        await self._service.serve(http)

    async def _admit(self, http: HttpExchange) -> bool:
        """Everything that is decided by the head."""
        headers = http.headers
        if not self._hosts.allows(headers.get(b"host")):
            await self._refuse(http, 421, "Misdirected request: this Host is not served here (security.allowed_hosts)")
            return False
        origin = headers.get(b"origin")
        if origin is not None:
            if not self._origins.allows(origin):
                await self._refuse(http, 403, "Forbidden: this Origin is not allowed here (security.allowed_origins)")
                return False
            http.extra_headers.extend(self._cors.headers(origin))
            if http.scope["method"] == "OPTIONS":
                await self._preflight(http, headers)
                return False
        caller = self._authenticator.authenticate(headers.get(b"authorization"))
        if isinstance(caller, Challenge):
            await http.respond(caller.status, caller.body, caller.headers)
            return False
        if caller.anonymous and not self._serves_anonymous(http.scope):
            await self._refuse(
                http, 401, "No key is configured, so only loopback is served (security.api_keys_file, security.allow_anonymous)"
            )
            return False
        http.principal = caller
        http.observed.principal = caller.name
        self._tenants.saw(caller.name)
        return True

    async def _is_still_known(self, http: HttpExchange) -> bool:
        """Ask again who it is: the keys have changed while the body came."""
        caller = self._authenticator.authenticate(http.headers.get(b"authorization"))
        if isinstance(caller, Challenge):
            await http.respond(caller.status, caller.body, caller.headers)
            return False
        return True

    def _serves_anonymous(self, scope: Scope) -> bool:
        """Without a key, off the loopback address, only what the configuration says: the server may listen elsewhere than it was told."""
        server = scope.get("server")
        return self._allow_anonymous or (server is not None and server[0] in _LOOPBACK)

    async def _preflight(self, http: HttpExchange, headers: Mapping[bytes, bytes]) -> None:
        status, answer = self._cors.preflight(headers)
        http.extra_headers.clear()
        await http.respond(status, b"", answer)

    async def _read(self, http: HttpExchange) -> bool:
        try:
            size = declared_bytes(http)
            if size is not None and size > self._limits.max_body_bytes:
                raise BodyTooLarge  # before anything of it is read
            await self._bodies.read(http, size)
        except BodyRefused as refused:
            http.extra_headers.append(CLOSE)  # the rest of the body is not read
            await refuse(http, refused.refusal)
            return False
        except BodyTooLarge:
            await self._refuse(
                http, 413, f"Request body too large: at most {self._limits.max_body_bytes} bytes are read (http.max_body_bytes)"
            )
            return False
        except BodyStalled:
            await self._refuse(http, 408, "The request body did not arrive in time (http.body_timeout_seconds)")
            return False
        return True

    @staticmethod
    async def _refuse(http: HttpExchange, status: int, message: str) -> None:
        """Refuse before the body was read: the connection cannot be used again."""
        closes = [] if CLOSE in http.extra_headers else [CLOSE]
        await http.respond_error(status, INVALID_REQUEST, message, headers=closes)

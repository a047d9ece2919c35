"""What a browser is told about the MCP endpoint.

Owns the CORS headers, for preflights and for responses. Promises that the headers MCP needs are readable, that credentials of the
browser (cookies) are never asked for, and that a response says it depends on Origin, so that no cache serves it to another one.
Leaves which origins are served to `hosts`.

Source: Fetch standard, "CORS protocol"; MCP transports.
"""

import re
from collections.abc import Mapping
from typing import Final

from moorage.memo import BoundedMemo
from moorage.security.bounds import REMEMBERED, REMEMBERED_BYTES
from moorage.security.hosts import OriginPolicy

Headers = list[tuple[bytes, bytes]]

_METHODS: Final = b"GET, POST, DELETE"
_EXPOSED: Final = b"Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After"
_REQUEST_HEADERS: Final = frozenset(
    {b"authorization", b"content-type", b"accept", b"last-event-id", b"traceparent", b"tracestate", b"baggage"}
)
_MCP_HEADER: Final = re.compile(rb"mcp-[a-z0-9_-]{1,100}")
_MAX_REQUEST_HEADERS: Final = 64
_MAX_AGE_SECONDS: Final = b"7200"
"""What Chromium keeps at most."""

_VARY: Final = (b"vary", b"Origin")
_VARY_PREFLIGHT: Final = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
_TO_NO_PAGE: Final[Headers] = [_VARY]
_LIST_BYTES: Final = 512
"""Of what a page is told, beside its origin."""


class Cors:
    """Answers browsers for the origins that the policy serves."""

    __slots__ = ("_known", "_policy")

    def __init__(self, policy: OriginPolicy) -> None:
        self._policy = policy
        self._known: BoundedMemo[bytes, Headers] = BoundedMemo(entries=REMEMBERED, max_bytes=REMEMBERED_BYTES)

    def headers(self, origin: bytes | None) -> Headers:
        """Return the headers of a response to a page of this origin. The list is shared: add it to others, do not change it."""
        if origin is None:
            return _TO_NO_PAGE
        known = self._known.get(origin)
        return known if known is not None else self._consider(origin)

    def preflight(self, headers: Mapping[bytes, bytes]) -> tuple[int, Headers]:
        """Answer an OPTIONS request: 204 with what is allowed, 403 to an origin that is not served, 405 to what is no preflight."""
        origin, method = headers.get(b"origin"), headers.get(b"access-control-request-method")
        if origin is None or method is None:
            return 405, [(b"allow", _METHODS), _VARY_PREFLIGHT]
        if not self._policy.allows(origin):
            return 403, [_VARY_PREFLIGHT]
        wanted = headers.get(b"access-control-request-headers", b"").lower().split(b",", _MAX_REQUEST_HEADERS)[:_MAX_REQUEST_HEADERS]
        granted = [name for name in (name.strip(b" \t") for name in wanted) if name in _REQUEST_HEADERS or _MCP_HEADER.fullmatch(name)]
        return 204, [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", b", ".join(granted)),
            (b"access-control-max-age", _MAX_AGE_SECONDS),
            _VARY_PREFLIGHT,
        ]

    def _consider(self, origin: bytes) -> Headers:
        if not self._policy.allows(origin):
            return _TO_NO_PAGE
        told = [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED), _VARY]
        return self._known.put(origin, told, len(origin) + _LIST_BYTES)

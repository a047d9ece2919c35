"""What of a request's head would change its meaning, and which of it is understood here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

UNDERSTOOD: Final[Mapping[bytes, tuple[bytes, HTTPStatus, str]]] = {
    b"expect": (b"100-continue", HTTPStatus.EXPECTATION_FAILED, "no expectation but 100-continue is met here"),
    b"content-encoding": (b"identity", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body has to come without a content encoding"),
    b"transfer-encoding": (b"chunked", HTTPStatus.NOT_IMPLEMENTED, "no transfer encoding but chunked is understood"),
}
"""Fields whose other values change what the request means, the verdict and its words."""

ONCE: Final = frozenset({b"host", b"authorization"})
"""Fields that say for whom and from whom a request is. Of two of them a proxy, this server and a tool behind it may each believe
another one, so two are refused whatever they say (RFC 9112, 3.2; RFC 9110, 5.3)."""

JUDGED: Final = ONCE.union(UNDERSTOOD)


def names_another_host(target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an absolute request target names a host that is not the one in the Host field, which is judged (RFC 9112, 3.2.2)."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or b"?" in scheme:
        return False
    authority = rest.partition(b"/")[0].partition(b"?")[0].lower()
    return [value.lower() for name, value in headers if name == b"host"] != [authority]

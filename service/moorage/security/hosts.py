"""Which values of Host and Origin are served.

Protects against pages in a browser that reach the service through a name of their own (DNS rebinding) or from a foreign site. Promises
that loopback names are always served, and one dictionary lookup for a value that was accepted before. Leaves the refusals (421, 403) to
`edge`, and telling browsers to `cors`.

Source: MCP transports, "Security Warning"; RFC 6454; RFC 9110, section 7.4.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from moorage.memo import BoundedMemo
from moorage.security.bounds import MAX_VALUE_BYTES, REMEMBERED, REMEMBERED_BYTES

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_AUTHORITY: Final = re.compile(r"([a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\])\.?(?::(\d{1,5}))?")
_ORIGIN: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#@\s]+)")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class HostPolicy:
    """Decides on the Host header.

    Args:
        allowed: `name` (with any port), `name:port`, `*.suffix` (any name below it, not the suffix itself), or `*` for any.
        addresses: Serve also who asks for an IP address, which no name can be made to look like.
    """

    __slots__ = ("_addresses", "_any", "_exact", "_known", "_suffixes")

    def __init__(self, allowed: Iterable[str], *, addresses: bool = False) -> None:
        self._addresses = addresses
        entries = [entry.lower() for entry in allowed]
        self._any = "*" in entries
        self._suffixes = tuple(_split(entry[2:]) for entry in entries if entry.startswith("*."))
        self._exact = frozenset(_split(entry) for entry in entries if not entry.startswith("*"))
        self._known: BoundedMemo[bytes | None, bool] = BoundedMemo(entries=REMEMBERED, max_bytes=REMEMBERED_BYTES)

    def allows(self, host: bytes | None) -> bool:
        """Tell whether a request that names this host is for us; None is a request that names none."""
        return self._known.get(host) or self._consider(host)

    def _consider(self, host: bytes | None) -> bool:
        match = None if host is None else _AUTHORITY.fullmatch(_text(host))
        if host is None or match is None or not (self._any or self._matches(match[1], match[2])):
            return False
        return self._known.put(host, True, len(host))

    def _matches(self, name: str, port: str | None) -> bool:
        if name in _LOOPBACK or (name, None) in self._exact or (name, port) in self._exact:
            return True
        if self._addresses and _is_address(name):
            return True
        return any(name.endswith("." + suffix) and wanted in (None, port) for suffix, wanted in self._suffixes)


class OriginPolicy:
    """Decides on the Origin header.

    Args:
        allowed: `scheme://host[:port]`, or `*` for any. Loopback origins are served with any port.
    """

    __slots__ = ("_any", "_exact", "_known")

    def __init__(self, allowed: Iterable[str]) -> None:
        entries = [entry.lower() for entry in allowed]
        self._any = "*" in entries
        self._exact = frozenset(_origin(entry) for entry in entries if entry != "*")
        self._known: BoundedMemo[bytes, bool] = BoundedMemo(entries=REMEMBERED, max_bytes=REMEMBERED_BYTES)

    def allows(self, origin: bytes | None) -> bool:
        """Tell whether a page of this origin may ask; None is a client that is no browser, or a page of ours."""
        return origin is None or self._known.get(origin) or self._consider(origin)

    def _consider(self, origin: bytes) -> bool:
        parsed = _origin(_text(origin))
        known = parsed is not None and (parsed in self._exact or _is_loopback(parsed))
        allowed = known or (self._any and len(origin) <= MAX_VALUE_BYTES)
        return self._known.put(origin, True, len(origin)) if allowed else False


def _text(value: bytes) -> str:
    return "" if len(value) > MAX_VALUE_BYTES else value.strip(b" \t").decode("latin-1").lower()


def _split(entry: str) -> tuple[str, str | None]:
    """Split `name[:port]`; an address in brackets keeps its colons."""
    match = _AUTHORITY.fullmatch(entry)
    if match is None:
        raise ValueError(f"{entry!r} is not a host")
    return match[1], match[2]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _origin(text: str) -> tuple[str, str, str | None] | None:
    """Split an origin into scheme, host and port; a port that the scheme implies is left out, as browsers do."""
    match = _ORIGIN.fullmatch(text)
    authority = _AUTHORITY.fullmatch(match[2]) if match else None
    if match is None or authority is None:
        return None
    return match[1], authority[1], None if authority[2] == _DEFAULT_PORTS.get(match[1]) else authority[2]


def _is_loopback(origin: tuple[str, str, str | None]) -> bool:
    return origin[0] in _DEFAULT_PORTS and origin[1] in _LOOPBACK

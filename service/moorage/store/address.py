"""Where a relay door is: `host:port` and nothing else, so that a request to it has no path, user or scheme of somebody's choice."""

from __future__ import annotations

import re
from typing import Final

from moorage.settings import is_plain_host

_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\[\]:]+)):(?P<port>[1-9][0-9]{0,4})", re.ASCII)
_PORTS: Final = 65536


def joined(host: str, port: int) -> str:
    """The address of a door; an IPv6 host stands in brackets."""
    host = host.strip("[]")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(address: str) -> tuple[str, int] | None:
    """Host and port of an address, or None for whatever else it is."""
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) >= _PORTS:
        return None
    v6, host = match["v6"], match["host"]
    if v6 is not None:
        return (v6, int(match["port"])) if ":" in v6 and is_plain_host(v6) else None
    return (host, int(match["port"])) if is_plain_host(host) else None

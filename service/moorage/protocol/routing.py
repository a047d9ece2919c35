"""Whether the fields that a gateway may route, meter or admit by say the same as the body that is served.

Asked of the handshake era, where these fields are optional: what is present has to be true. The modern era's are proved in `inbound`.
Source: MCP 2026-07-28, basic/transports/streamable-http (routing headers)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from mcp.shared.inbound import decode_header_value

from moorage.protocol.inbound import NAMED_BY
from moorage.protocol.messages import ReplyMessage

if TYPE_CHECKING:
    from moorage.protocol.dispatch import Addressed
    from moorage.protocol.exchange import Header

_ONCE: Final = frozenset({b"mcp-method", b"mcp-name", b"mcp-session-id", b"mcp-protocol-version", b"last-event-id", b"content-type"})


def repeated(headers: Iterable[Header]) -> str | None:
    """Refuse, in words, a field that comes twice: whoever stands before us may have believed the other one."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in _ONCE and name in seen:
            return f"Bad request: more than one {name.decode().title()} header"
        seen.add(name)
    return None


def contradiction(headers: Mapping[bytes, bytes], message: Addressed) -> str | None:
    """Refuse, in words, a message that is not what its `Mcp-Method` and `Mcp-Name` say; what is absent says nothing."""
    method = None if isinstance(message, ReplyMessage) else message.method
    said = headers.get(b"mcp-method")
    if said is not None and said.decode("latin-1") != method:
        return "Bad request: the Mcp-Method header does not match the method in the body"
    if b"mcp-name" not in headers or isinstance(message, ReplyMessage):
        return None
    key = NAMED_BY.get(message.method)
    name = None if key is None else (message.params or {}).get(key)
    if name is not None and decode_header_value(headers[b"mcp-name"].decode("latin-1")) != name:
        return f"Bad request: the Mcp-Name header does not match params.{key} in the body"
    return None

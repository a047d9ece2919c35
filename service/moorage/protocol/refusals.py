"""What is refused for the moment: in words, with a reason that the log and the metrics share, and with when to try again.

A request of the modern era, and one that opens a session, gets an HTTP status with Retry-After. One within a session gets its JSON-RPC
error under HTTP 200: mcp 1.x ends the whole session on any refused POST but 404. What carries no id (an answer, a notification) has
no JSON-RPC answer to be refused with, and gets the status.

Source: RFC 9110, section 10.2.3; RFC 6585, section 4; docs/decisions/2026-11-25-budgets.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mcp.shared.exceptions import MCPError

from moorage.protocol.encoding import encode
from moorage.store.outage import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Message

    from moorage.limits.room import Denied
    from moorage.protocol.exchange import Header, HttpExchange

REVOKED: Final = -32013
"""JSON-RPC error code of a call that ends because the key that it was begun with is valid no more."""

REFUSED: Final = -32012
"""JSON-RPC error code of a request that was refused before anything of it ran: it may be sent again as it is."""

_UNAVAILABLE: Final = 503
_TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something cannot be served now.

    Attributes:
        reason: One of `telemetry.conventions.REASONS`.
        message: For the client.
        status: Of the HTTP response where the refusal is one.
        retry_after_seconds: When to come again.
    """

    reason: str
    message: str
    status: int = _UNAVAILABLE
    retry_after_seconds: int = 1

    @property
    def error(self) -> dict[str, Any]:
        """The JSON-RPC error object."""
        data = {"reason": self.reason, "retryAfterSeconds": self.retry_after_seconds}
        return {"code": REFUSED, "message": self.message, "data": data}

    def as_error(self) -> RefusedError:
        """The same, for whoever raises it to a tool, or out of a handler."""
        return RefusedError(self)


class RefusedError(MCPError):
    """A request was refused after it was understood, and before anything of it ran."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(**refusal.error)
        self.refusal = refusal


def key_revoked() -> MCPError:
    """The error that ends what was begun with a key that is valid no more."""
    return MCPError(code=REVOKED, message="The API key that this was begun with is not valid any more")


CLOSING: Final = Refusal("draining", "The server is shutting down: try again, and another replica will answer")
ENDING: Final = Refusal("draining", "The server is shutting down: initialize again, and another replica will answer")
STORE_OUT: Final = Refusal("store_unavailable", "The session store is out of reach: try again soon")
STORE_FULL: Final = Refusal("store_full", "The session store is full: what exists goes on, and nothing more can be kept; try again later")
OWNER_SILENT: Final = Refusal("owner_unreachable", "The replica that owns the session cannot be reached: try again soon")
MOVED: Final = Refusal("session_moved", "The session has moved: try again")
SESSIONS: Final = Refusal("session_limit", "Too many open sessions")
SESSIONS_OF_PRINCIPAL: Final = Refusal("session_share", "Too many open sessions of this principal", _TOO_MANY)


def of_store(error: StoreUnavailable) -> Refusal:
    """The refusal that an exception of the store stands for."""
    return STORE_FULL if isinstance(error, StoreFull) else STORE_OUT


def denied(what: str, reason: str, verdict: Denied) -> Refusal:
    """The refusal of what does not fit in; `what` is a plural, `reason` its word in the log and the metrics."""
    if verdict == "full":
        return Refusal(f"{reason}_limit", f"Too many {what} in this process: try again soon")
    return Refusal(f"{reason}_share", f"Too many {what} of this principal in this process: try again when some have ended", _TOO_MANY)


async def refuse(http: HttpExchange, refusal: Refusal, request_id: str | int | None = None) -> None:
    """Refuse an exchange whose body was read; may wait for the client to take the answer."""
    http.observed.reason = refusal.reason
    body = encode({"jsonrpc": "2.0", "id": request_id, "error": refusal.error})
    again = _retry_after(refusal.retry_after_seconds)
    session = http.headers.get(b"mcp-session-id")
    if request_id is not None and session:
        await http.respond(200, body, [(b"mcp-session-id", session), again])
    else:
        await http.respond(refusal.status, body, [again])


def again_headers(answer: Mapping[str, Any]) -> list[Header]:
    """The headers of an answer, as a message, that may be a refusal."""
    error = answer.get("error")
    if error is None or error["code"] != REFUSED or "data" not in error:
        return []
    return [_retry_after(error["data"]["retryAfterSeconds"])]


def with_refusal(message: Message, refusal: Refusal) -> Message:
    """The head of an answer that the SDK has made of a refusal: it knows neither the status nor when to come again."""
    return {**message, "status": refusal.status, "headers": [*message["headers"], _retry_after(refusal.retry_after_seconds)]}


def _retry_after(seconds: int) -> Header:
    return b"retry-after", b"%d" % seconds

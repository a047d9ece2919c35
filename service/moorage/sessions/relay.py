"""The way to a session's owner: one hop, streaming, and a verdict when there is no answer.

`Relay.ask` yields the owner's response while it is open; leaving the context closes the hop, which the owner sees as its client
leaving. Promises to tell apart what matters for a takeover: the owner is gone (nothing was processed), it says that it is not the owner, it
does not answer (nobody knows), or it was lost after it had the request. Leaves what follows from that to the caller.

Source: docs/decisions/2026-11-24-relay.md
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import httpcore2 as httpcore

from moorage.sessions.hop import HEADER

if TYPE_CHECKING:
    from moorage.security.principal import Principal
    from moorage.sessions.hop import Hops

Header = tuple[bytes, bytes]

NOT_THE_OWNER: Final = 421
NOT_TRUSTED: Final = 403
_IDLE_SECONDS: Final = 30.0
_KEPT_OPEN: Final = 256

_OWN_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"proxy-authorization", b"proxy-connection"}
    | {b"content-length", b"expect", b"authorization", b"cookie", b"traceparent", b"tracestate", HEADER}
)
"""Fields that belong to the client's own hop, or that no other process has any business to see."""

_LEFT_OUT: Final = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"date", b"server"})


class OwnerGone(Exception):  # noqa: N818 - a verdict
    """Nobody listens at the owner's address, or somebody else does: it did not get the request."""


class OwnerSilent(Exception):  # noqa: N818 - a verdict
    """No connection in time, or none from here, or somebody at its address who does not know our keys: the owner may live.

    It did not get the request.
    """


class OwnerLost(Exception):  # noqa: N818 - a verdict
    """The connection broke after the request was sent: what the owner did with it is unknown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An owner's response as it comes."""

    status: int
    headers: list[Header]
    parts: AsyncIterator[bytes]


class Relay:
    """Requests to other replicas.

    Args:
        hops: What proves them.
        connect_seconds: Longest time to a connection (`relay.connect_seconds`).
        silence_seconds: Longest silence of an owner that is expected to send keep-alives.
    """

    def __init__(self, hops: Hops, *, connect_seconds: float, silence_seconds: float) -> None:
        self._hops = hops
        self._timeout = {"connect": connect_seconds, "pool": connect_seconds, "write": silence_seconds, "read": silence_seconds}
        # Streams stay open for hours and are never used again: a pool would look each call up among thousands of them.
        self._calls = httpcore.AsyncConnectionPool(
            max_connections=None, max_keepalive_connections=_KEPT_OPEN, keepalive_expiry=_IDLE_SECONDS
        )

    @asynccontextmanager
    async def ask(
        self, owner: str, address: str, method: str, headers: Iterable[Header], body: bytes, principal: Principal, trace: bytes | None
    ) -> AsyncGenerator[Answer, None]:
        """Pass a request on and yield the response.

        Raises:
            OwnerGone, OwnerSilent, OwnerLost: The last one also while the response is read.
        """
        # The space around a value belongs to the wire that it came by; the library refuses to send it.
        passed = [(name, value.strip()) for name, value in headers if name not in _OWN_HOP]
        session = next((value for name, value in passed if name == b"mcp-session-id"), b"")
        passed.append((HEADER, self._hops.make(owner, method, session, body, principal)))
        if trace is not None:
            passed.append((b"traceparent", trace))
        try:
            async with AsyncExitStack() as hop:
                response = await self._send(hop, method, address, passed, body)
                if response.status == NOT_THE_OWNER:
                    raise OwnerGone
                if response.status == NOT_TRUSTED:
                    raise OwnerSilent
                kept = [(name.lower(), value) for name, value in response.headers if name.lower() not in _LEFT_OUT]
                yield Answer(response.status, kept, response.aiter_stream())
        except httpcore.ConnectError as error:
            raise (OwnerGone if _is_refusal(error) else OwnerSilent) from error
        except (httpcore.ConnectTimeout, httpcore.PoolTimeout) as error:
            raise OwnerSilent from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise OwnerLost from error

    async def _send(self, hop: AsyncExitStack, method: str, address: str, headers: list[Header], body: bytes) -> httpcore.Response:
        """Send the request; calls go over connections that are kept, a stream over one of its own."""
        url = httpcore.URL(f"http://{address}/mcp")
        way: Any = self._calls if method != "GET" else await hop.enter_async_context(httpcore.AsyncHTTPConnection(url.origin))
        extensions: dict[str, Any] = {"timeout": self._timeout}
        try:
            return await hop.enter_async_context(way.stream(method, url, headers=headers, content=body, extensions=extensions))
        except AttributeError as error:  # anyio, of a socket that was closed as soon as it was open: nothing was sent
            raise httpcore.ConnectError from error

    async def close(self) -> None:
        """Close what is kept open."""
        await self._calls.aclose()


def _is_refusal(error: BaseException) -> bool:
    """Whether a failed connection says that nobody listens; a name without an address, or no file descriptor left here, does not."""
    if isinstance(error, ConnectionRefusedError):
        return True
    if isinstance(error, BaseExceptionGroup):
        return all(_is_refusal(each) for each in cast("BaseExceptionGroup[BaseException]", error).exceptions)
    reason = error.__cause__ or error.__context__  # the library raises what it has translated "from None"
    return reason is not None and _is_refusal(reason)

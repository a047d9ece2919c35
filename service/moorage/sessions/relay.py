"""The way to a session's owner: one hop, streaming, and a verdict when there is no answer.

`Relay.ask` yields the owner's response while it is open; leaving the context closes the hop, which the owner sees as its client
leaving. Promises to tell apart what matters for a takeover: the owner is gone (nothing was processed), it says that it is not the owner, it
does not answer (nobody knows), or it was lost after it had the request. Leaves what follows from that to the caller. Nothing of an answer
is passed on, and no verdict drawn from it, before it is proved that it comes from a replica with our keys; no redirect is followed.

Source: docs/decisions/2026-11-24-relay.md, 2026-11-25-relay-trust.md
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import httpcore2 as httpcore
import structlog

from moorage.log_limit import LogLimit
from moorage.sessions.hop import HEADER, PROOF, TARGET, Header, returned
from moorage.store import address as addresses

if TYPE_CHECKING:
    from moorage.security.principal import Principal
    from moorage.sessions.hop import Hops

NOT_THE_OWNER: Final = 421
_IDLE_SECONDS: Final = 30.0
_KEPT_OPEN: Final = 256

_NOT_PASSED_ON: Final = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"proxy-authorization", b"proxy-connection"}
    | {b"content-length", b"expect", b"authorization", b"cookie", b"traceparent", b"tracestate", HEADER, PROOF}
)
"""Fields that belong to the client's own hop, or that no other process has any business to see; those that `Connection` names are left
out, too. All others are passed on: a tool may read what a team's own gateway adds."""

log = structlog.get_logger("moorage.sessions")


class OwnerGone(Exception):  # noqa: N818 - a verdict
    """Nobody listens at the owner's address, or another replica of ours does and has proved it: it did not get the request."""


class OwnerSilent(Exception):  # noqa: N818 - a verdict
    """No connection in time, or none from here, or no address, or an answer that nobody with our keys has given: the owner may live.

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
        self._log_limit = LogLimit()
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
        place = addresses.parse(address)
        if place is None:
            self._warn("relay.no_address", owner=owner, hint="the store names a place that is no host:port: who else writes there?")
            raise OwnerSilent
        passed = _passed_on(headers, address, trace)
        token, pledge = self._hops.make(owner, address, method, passed, body, principal)
        passed.append((HEADER, token))
        try:
            async with AsyncExitStack() as hop:
                response = await self._send(hop, method, place, passed, body)
                if not pledge.is_kept(response.status, response.headers):
                    self._warn("relay.unproved", owner=owner, status=response.status, hint="not sealed with these keys: who else is there?")
                    raise OwnerSilent
                if response.status == NOT_THE_OWNER:
                    raise OwnerGone
                yield Answer(response.status, returned(response.headers), response.aiter_stream())
        except httpcore.ConnectError as error:
            raise (OwnerGone if _is_refusal(error) else OwnerSilent) from error
        except (httpcore.ConnectTimeout, httpcore.PoolTimeout) as error:
            raise OwnerSilent from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise OwnerLost from error

    def _warn(self, event: str, **facts: object) -> None:
        if (left_out := self._log_limit.due(event)) is not None:
            log.warning(event, **facts, left_out=left_out)

    async def _send(
        self, hop: AsyncExitStack, method: str, place: tuple[str, int], headers: list[Header], body: bytes
    ) -> httpcore.Response:
        """Send the request; calls go over connections that are kept, a stream over one of its own."""
        host, port = place
        url = httpcore.URL(scheme=b"http", host=host.encode(), port=port, target=TARGET)
        way: Any = self._calls if method != "GET" else await hop.enter_async_context(httpcore.AsyncHTTPConnection(url.origin))
        extensions: dict[str, Any] = {"timeout": self._timeout}
        try:
            return await hop.enter_async_context(way.stream(method, url, headers=headers, content=body, extensions=extensions))
        except AttributeError as error:  # anyio, of a socket that was closed as soon as it was open: nothing was sent
            raise httpcore.ConnectError from error

    async def close(self) -> None:
        """Close what is kept open."""
        await self._calls.aclose()


def _passed_on(headers: Iterable[Header], address: str, trace: bytes | None) -> list[Header]:
    """The fields that the owner gets beside the token."""
    headers = list(headers)
    named = {name.strip().lower() for field, value in headers if field == b"connection" for name in value.split(b",")}
    # The space around a value belongs to the wire that it came by; the library refuses to send it.
    passed = [(name, value.strip()) for name, value in headers if name not in _NOT_PASSED_ON and name not in named and name != b"host"]
    # The edge has judged the first Host; the library refuses to send two.
    passed.append(next(((name, value.strip()) for name, value in headers if name == b"host"), (b"host", address.encode())))
    if trace is not None:
        passed.append((b"traceparent", trace))
    return passed


def _is_refusal(error: BaseException) -> bool:
    """Whether a failed connection says that nobody listens; a name without an address, or no file descriptor left here, does not."""
    if isinstance(error, ConnectionRefusedError):
        return True
    if isinstance(error, BaseExceptionGroup):
        return all(_is_refusal(each) for each in cast("BaseExceptionGroup[BaseException]", error).exceptions)
    reason = error.__cause__ or error.__context__  # the library raises what it has translated "from None"
    return reason is not None and _is_refusal(reason)

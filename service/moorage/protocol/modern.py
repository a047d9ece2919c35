"""The stateless era (2026-07-28): one POST, one answer, streamed only when something is streamed.

`ModernEndpoint.serve` takes an exchange whose Host, Origin and caller are already accepted. A request that `inbound` recognises
runs here, in the ASGI task itself, through the hot path or the SDK's kernel; every other one is replayed to the SDK's own
endpoint before any tool code has run. `subscriptions/listen` is a call like any other: its first notification opens the stream.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import structlog
from mcp.server.connection import Connection
from mcp.server.runner import serve_one
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    INVALID_REQUEST,
    SubscriptionsListenResult,
)
from mcp_types.version import LATEST_MODERN_VERSION

from moorage.lifecycle.heap import rest_collector_this_turn
from moorage.protocol import sdk
from moorage.protocol.accept import Accepts
from moorage.protocol.boundary import answer_failed, answerable
from moorage.protocol.budgets import Budgets, principal_of
from moorage.protocol.call import Call, InFlight
from moorage.protocol.endpoint_response import EndpointResponse, endpoint_fault
from moorage.protocol.exchange import HttpExchange
from moorage.protocol.hot import HotTools
from moorage.protocol.inbound import MAX_ID_LENGTH, MODERN_VERSION, Inbound, is_bounded_id, recognise
from moorage.protocol.modern_call import ModernCall, ReplayedCall, bounded_id, failed, respond, shutting_down
from moorage.protocol.refusals import CLOSING, Refusal, refuse

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server

_LISTEN: Final = "subscriptions/listen"

log = structlog.get_logger("moorage.protocol")


class ModernEndpoint:
    """Serves modern requests of one SDK server."""

    def __init__(
        self,
        server: Server[Any],
        hot: HotTools | None,
        in_flight: InFlight,
        budgets: Budgets,
        *,
        json_responses: bool,
        age_seconds: Callable[[], float],
    ) -> None:
        """Args: `age_seconds` gives the age at which a listen stream that begins now is ended; 0 for never."""
        self._server = server
        self._hot = hot
        self._in_flight = in_flight
        self._json_responses = json_responses
        self._budgets = budgets
        self._age_seconds = age_seconds
        self.accepting = True
        self._accepts = Accepts()
        self._lifespan_state: Any = None
        self._clock: Callable[[], float] = lambda: 0.0

    def start(self, lifespan_state: Any, clock: Callable[[], float]) -> None:
        """The server's lifespan has begun."""
        self._lifespan_state = lifespan_state
        self._clock = clock
        if self._hot is not None:
            self._hot.start(lifespan_state)

    def recognises_head(self, http: HttpExchange) -> bool:
        """Whether the head is that of an ordinary modern request: only then can its body be worth decoding here."""
        headers = http.headers
        return (
            http.scope["method"] == "POST"
            and headers.get(b"mcp-protocol-version") == MODERN_VERSION
            and len(headers) == len(http.scope["headers"])  # a duplicated header has no place in a mapping
            and (headers.get(b"content-type") or b"").lower().startswith(b"application/json")
            and self._acceptable(headers.get(b"accept"))
        )

    async def serve(self, http: HttpExchange) -> None:
        """Answer one exchange whose body was read."""
        inbound = recognise(http.body, http.headers) if self.recognises_head(http) else None
        if inbound is None or not self._fits(inbound, http):
            await self._replay(http)
            return
        listens = inbound.method == _LISTEN
        refusal = self._refuses_stream(http) if listens else self._budgets.refuses_call(http)
        if refusal is not None:
            await refuse(http, refusal, inbound.id)
            return
        try:
            call = ModernCall(http, inbound.id, inbound.progress_token, streams=listens or not self._json_responses, now=self._clock())
            if listens:
                await self._listen(call, inbound)
                return
            work = self._hot.prepare(call, inbound) if self._hot is not None and inbound.method == "tools/call" else None
            handled = self._kernel(call, inbound) if work is None else work()
            answer = await self._in_flight.run(call, self._answer(inbound, handled))
            if answer is None and not call.client_gone:
                answer = failed(inbound.id, call.ended_because or shutting_down())
            if answer is not None:
                status, message = answer
                await respond(http, status, message)
        except BaseException as error:  # boundary: a fault while answering is this call's too
            await answer_failed(http, error, inbound.id, inbound.method)

    def _refuses_stream(self, http: HttpExchange) -> Refusal | None:
        return self._budgets.refuses_stream(http) if self.accepting else CLOSING

    async def _listen(self, call: Call, inbound: Inbound) -> None:
        """Serve a listen stream until it is ended, by its client, by a drain, or for its age, so that load can move."""
        call.long_lived = True
        call.http.observed.streaming("listen")
        age, holder = self._age_seconds(), principal_of(call.http)
        expiry = asyncio.get_running_loop().call_later(age, call.cancel) if age else None
        self._budgets.streams.enter(holder)
        try:
            answer = await self._in_flight.run(call, self._answer(inbound, self._kernel(call, inbound)))
        finally:
            self._budgets.streams.leave(holder)
            if expiry is not None:
                expiry.cancel()
        if answer is None and call.ended_because is not None:
            answer = failed(inbound.id, call.ended_because)
        if answer is None and not call.client_gone:
            ended = SubscriptionsListenResult(_meta={SUBSCRIPTION_ID_META_KEY: inbound.id})
            answer = 200, {"jsonrpc": "2.0", "id": inbound.id, "result": ended.model_dump(mode="json", by_alias=True, exclude_none=True)}
        if answer is not None:
            status, message = answer
            await respond(call.http, status, message)

    async def _kernel(self, call: Call, inbound: Inbound) -> dict[str, Any]:
        connection = Connection.from_envelope(
            LATEST_MODERN_VERSION, inbound.meta.get(CLIENT_INFO_META_KEY), inbound.meta[CLIENT_CAPABILITIES_META_KEY]
        )
        return await serve_one(
            self._server,
            cast("Any", call),
            inbound.method,
            inbound.params,
            connection=connection,
            lifespan_state=self._lifespan_state,
        )

    async def _answer(self, inbound: Inbound, work: Awaitable[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        try:
            return 200, {"jsonrpc": "2.0", "id": inbound.id, "result": await work}
        except BaseException as error:  # boundary: a handler's exception becomes its JSON-RPC error
            return failed(inbound.id, answerable(error, inbound.method))

    def _fits(self, inbound: Inbound, http: HttpExchange) -> bool:
        """Whether the head also agrees with what this method wants of it."""
        if inbound.method == "tools/call":
            return self._headers_agree(inbound, http)
        return inbound.method != _LISTEN or self._accepts(http.headers.get(b"accept")).sse

    def _headers_agree(self, inbound: Inbound, http: HttpExchange) -> bool:
        if self._hot is not None:
            return self._hot.param_headers_agree(inbound.params, http.scope)
        # A low-level server's schemas are known only by listing its tools as this caller: the SDK's endpoint does that.
        return not inbound.params.get("arguments") and not any(name.startswith(b"mcp-param-") for name in http.headers)

    async def _replay(self, http: HttpExchange) -> None:
        """Let the SDK's own endpoint answer; what only we refuse is refused first."""
        if _echoes_oversized_id(http.body):
            message = f"The request id must be a string or an integer of at most {MAX_ID_LENGTH} characters"
            await http.respond_error(400, INVALID_REQUEST, message)
            return
        refusal = None if _has_no_id(http.body) else self._budgets.refuses_call(http)
        if refusal is not None:
            await refuse(http, refusal)
            return
        call = ReplayedCall(http, None, None, streams=False, now=self._clock())
        call.watched = True  # the SDK's endpoint watches for itself
        try:
            served = await self._in_flight.run(call, self._served_by_sdk(http))
        except BaseException as error:  # boundary: what the SDK's endpoint lets through, such as SystemExit in a group
            await answer_failed(http, error, bounded_id(http.body), "_OTHER")
            return
        if served is not None:
            return
        if call.ended_because is not None:
            late = call.ended_because.error.model_dump(mode="json", by_alias=True, exclude_none=True)
            await respond(http, 200, {"jsonrpc": "2.0", "id": bounded_id(http.body), "error": late})
        else:
            error = shutting_down().error.model_dump(exclude_none=True)
            await respond(http, 503, {"jsonrpc": "2.0", "id": bounded_id(http.body), "error": error})

    async def _served_by_sdk(self, http: HttpExchange) -> bool:
        scope = {**http.request.scope, "headers": [(name, value.strip(b" \t")) for name, value in http.scope["headers"]]}
        rest_collector_this_turn()  # what the endpoint decodes, it decodes before it first waits
        try:
            await sdk.handle_modern_request(
                self._server, None, self._json_responses, self._lifespan_state, scope, http.replay_body(), EndpointResponse(http).send
            )
        except Exception as error:  # boundary: only what the endpoint cannot write is known here
            fault = endpoint_fault(error)
            if fault is None:
                raise
            request_id = _id_as_the_sdk_reads_it(http.body)
            status, message = failed(request_id, fault)
            log.error("mcp.answer_unwritable", reason=fault.error.message)  # noqa: TRY400 - the reason says it all
            await respond(http, status, message)
        return True

    def _acceptable(self, accept: bytes | None) -> bool:
        json_ok, sse_ok = self._accepts(accept)
        return json_ok and (self._json_responses or sse_ok)


class _Envelope(msgspec.Struct):
    """What is read of a body to see its id: the rest is passed over, so that this costs no second decoding."""

    id: msgspec.Raw = msgspec.Raw(b"")


_read_envelope = msgspec.json.Decoder(_Envelope).decode


def _has_no_id(body: bytes) -> bool:
    """Whether a body is a notification, which is acknowledged and begins nothing."""
    try:
        return not bytes(_read_envelope(body).id)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def _echoes_oversized_id(body: bytes) -> bool:
    """Whether answering this body would echo an id beyond the bound."""
    if len(body) <= MAX_ID_LENGTH:
        return False
    try:
        request_id = json.loads(bytes(_read_envelope(body).id) or b"null")
    except msgspec.ValidationError:  # JSON, and no object
        return False
    except (ValueError, RecursionError):
        request_id = _id_as_the_sdk_reads_it(body)
    return type(request_id) in (str, int) and not is_bounded_id(request_id) and len(str(request_id)) > MAX_ID_LENGTH


def _id_as_the_sdk_reads_it(body: bytes) -> Any:
    """The id of a body that is JSON for the standard library alone: NaN, half a surrogate pair, or another encoding than UTF-8."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", decoded).get("id") if isinstance(decoded, dict) else None

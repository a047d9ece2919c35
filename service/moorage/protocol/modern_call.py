"""How a call of the stateless era is answered, also in the place of a handler that does not end when it is interrupted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp_types import CONNECTION_CLOSED

from moorage.protocol import sdk
from moorage.protocol.boundary import answer_failed
from moorage.protocol.call import Call
from moorage.protocol.encoding import encode_answer, error_object, sse_frame, unwritable
from moorage.protocol.inbound import is_bounded_id
from moorage.protocol.observation import is_encoding_fault
from moorage.protocol.refusals import RefusedError, again_headers

if TYPE_CHECKING:
    from moorage.protocol.exchange import HttpExchange


class ModernCall(Call):
    """A call whose body was recognised."""

    __slots__ = ()

    async def answer_unended(self) -> None:
        """Answer with what the call was interrupted for; what its handler says later finds the response ended."""
        if self.client_gone:
            return
        try:
            status, message = failed(self.answer_id, self.ended_because or shutting_down())
            await respond(self.http, status, message)
        except BaseException as error:  # boundary: as of any other answer
            await answer_failed(self.http, error, self.answer_id, "_OTHER")

    @property
    def answer_id(self) -> str | int | None:
        """The id that its answer names."""
        return self.request_id


class ReplayedCall(ModernCall):
    """A call that the SDK's endpoint answers."""

    __slots__ = ()

    @property
    def answer_id(self) -> str | int | None:
        """The same, read of the body: few calls need it."""
        return bounded_id(self.http.body)


def failed(request_id: str | int | None, error: Exception) -> tuple[int, dict[str, Any]]:
    """What an exception is answered with, and the HTTP status."""
    if is_encoding_fault(error):  # of a result that the hot path has handed to the kernel
        error = unwritable(error, "the result")
    data = sdk.modern_error_data(error)
    wire = error_object(data, exclude_none=True)
    status = error.refusal.status if isinstance(error, RefusedError) else ERROR_CODE_HTTP_STATUS.get(data.code, 200)
    return status, {"jsonrpc": "2.0", "id": request_id, "error": wire}


async def respond(http: HttpExchange, status: int, message: dict[str, Any]) -> None:
    """Send the answer, as the last event where a stream has begun; waits for the client."""
    if http.streaming:
        await http.write(sse_frame(encode_answer(message)), last=True)
    else:
        await http.respond(status, encode_answer(message), () if status == 200 else again_headers(message))


def shutting_down() -> MCPError:
    """What a call is told that the drain has interrupted."""
    return MCPError(code=CONNECTION_CLOSED, message="The server is shutting down")


def bounded_id(body: bytes) -> str | int | None:
    """The id of a request that the SDK's endpoint has decoded before."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return None
    request_id = cast("dict[str, Any]", decoded).get("id") if isinstance(decoded, dict) else None
    return request_id if is_bounded_id(request_id) else None

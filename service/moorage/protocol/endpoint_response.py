"""What the SDK's endpoint answers, as it leaves here.

The endpoint knows no status of ours, writes the escape of half a surrogate pair, which no strict reader takes, and has no bound on values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from moorage.protocol.encoding import Unwritable, require_few_values, unwritable
from moorage.protocol.exchange import REFUSAL_KEY, SSE_HEADERS, HttpExchange
from moorage.protocol.refusals import with_refusal

if TYPE_CHECKING:
    from starlette.types import Message

_SURROGATES: Final = re.compile(rb"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\ud[89a-f][0-9a-f]{2})")
"""An escaped backslash, an escaped pair, or (the group) an escaped half of one, as `json.dumps` writes them."""


class EndpointResponse:
    """Sends on what the endpoint sends: a refusal with its status, U+FFFD for half a surrogate pair, and few values."""

    __slots__ = ("_head", "_http")

    def __init__(self, http: HttpExchange) -> None:
        self._http = http
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        """An ASGI `send`; waits for the client.

        Raises:
            Unwritable: this part has too many values. Nothing was sent of a response that is no stream.
        """
        if message["type"] == "http.response.start":
            if (refusal := self._http.scope.get(REFUSAL_KEY)) is not None:
                message = with_refusal(message, refusal)
            if SSE_HEADERS[0] in message.get("headers", ()):
                await self._http.send(message)
            else:
                self._head = message  # goes with its body, once that is known to be writable
            return
        body: bytes = message.get("body", b"")
        require_few_values(body)
        if b"\\ud" in body:
            message = {**message, "body": _SURROGATES.sub(lambda found: b"\\ufffd" if found[1] else found[0], body)}
        if self._head is not None:
            head, self._head = self._head, None
            await self._http.send(head)
        await self._http.send(message)


def endpoint_fault(error: Exception) -> Unwritable | None:
    """What an exception says of an answer that the SDK's endpoint could not write; None for any other."""
    if isinstance(error, ExceptionGroup):  # of the task group in which the endpoint writes
        inner = cast("ExceptionGroup[Exception]", error).exceptions
        return endpoint_fault(inner[0]) if len(inner) == 1 else None
    if isinstance(error, Unwritable):
        return error
    # What a handler raises is answered inside of the endpoint: these can only be its encoder's.
    return unwritable(error, "the answer") if isinstance(error, ValueError | TypeError | RecursionError) else None

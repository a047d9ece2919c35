"""Where what a handler raised becomes its call's answer, whatever it raised.

A tool that ends with `SystemExit`, `KeyboardInterrupt`, `GeneratorExit` or a group of these, or that lets the `CancelledError` of a subtask
through, has failed like any other: the SDK and the servers around us catch `Exception` alone, and the caller would get a plain 500 or a
cut stream. What really ends the task (it was cancelled, or is being closed) passes.

Source: docs/decisions/2026-11-25-supervision.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from moorage.lifecycle.supervised import is_end_of_task
from moorage.protocol.encoding import encode, sse_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.protocol.exchange import Header, HttpExchange

_MESSAGE: Final = "Internal server error"
_MAX_NAME: Final = 100

log = structlog.get_logger("moorage.protocol")


def answerable(error: BaseException, method: str, name: object = None) -> Exception:
    """What a handler raised, as an exception that has an answer; one that would have left the task is logged here.

    Args:
        error: What was raised, in the frame that handles it.
        method: Of the message.
        name: The tool, prompt or resource that was asked for.

    Raises:
        BaseException: The same one, where it ends the task.
    """
    if isinstance(error, Exception):
        return error
    if is_end_of_task(error):
        raise error
    facts = {"name": name[:_MAX_NAME]} if isinstance(name, str) else {}
    log.error("mcp.handler_failed", method=method[:_MAX_NAME], **facts, exc_info=error)
    failed = MCPError(code=INTERNAL_ERROR, message=_MESSAGE)
    failed.__cause__ = error
    return failed


def internal_error(request_id: str | int | None) -> dict[str, Any]:
    """The answer that needs nothing of what has failed."""
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": INTERNAL_ERROR, "message": _MESSAGE}}


async def answer_failed(
    http: HttpExchange, error: BaseException, request_id: str | int | None, method: str, headers: Iterable[Header] = ()
) -> None:
    """Answering has failed: log it, and answer with an internal error, as the last event where a stream has begun. Waits for the client.

    Raises:
        BaseException: The same one, where it ends the task.
    """
    if is_end_of_task(error):
        raise error
    log.error("mcp.answer_failed", method=method[:_MAX_NAME], exc_info=error)
    message = internal_error(request_id)
    if http.streaming:
        await http.write(sse_event(message), last=True)
    else:
        await http.respond(200, encode(message), headers)

"""What one decoded JSON-RPC body is: a request, a notification, a reply, or none of these and why.

The reasons are ours and name the member that is wrong; nothing of the body is quoted but the id, and that only when it is a
valid one, so that the refusal can be matched with its request.
Source: JSON-RPC 2.0, sections 4 and 5; MCP 2025-11-25, basic, "Messages".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from moorage.protocol.inbound import MAX_ID_LENGTH, is_bounded_id


@dataclass(frozen=True, slots=True)
class RequestMessage:
    """Wants an answer under its id."""

    id: str | int
    method: str
    params: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class NotificationMessage:
    """Wants none."""

    method: str
    params: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ReplyMessage:
    """Answers a request of ours."""

    id: str | int
    result: dict[str, Any] | None
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class MalformedMessage:
    """None of the above."""

    reason: str
    id: str | int | None = None


Message = RequestMessage | NotificationMessage | ReplyMessage | MalformedMessage


def classify(decoded: Any) -> Message:
    """Say what a decoded body is."""
    if isinstance(decoded, list):
        return MalformedMessage("Batches are not supported: send one JSON-RPC message a request")
    if not isinstance(decoded, dict):
        return MalformedMessage("The body must be one JSON-RPC message, as a JSON object")
    message = cast("dict[str, Any]", decoded)
    if "id" in message and not is_bounded_id(message["id"]):
        return MalformedMessage(f"id must be a string of at most {MAX_ID_LENGTH} characters or an integer of 64 bits")
    request_id = cast("str | int | None", message.get("id"))
    if message.get("jsonrpc") != "2.0":
        return MalformedMessage('jsonrpc must be "2.0"', request_id)
    if "method" in message:
        return _call(message, request_id)
    if request_id is not None and ("result" in message) != ("error" in message):
        return _reply(message, request_id)
    return MalformedMessage("The message has neither a method, nor an id with either a result or an error", request_id)


def _call(message: dict[str, Any], request_id: str | int | None) -> Message:
    method, params = message["method"], message.get("params")
    if not isinstance(method, str):
        return MalformedMessage("method must be a string", request_id)
    if not (params is None or isinstance(params, dict)):
        return MalformedMessage("params must be an object", request_id)
    typed = cast("dict[str, Any] | None", params)
    return NotificationMessage(method, typed) if request_id is None else RequestMessage(request_id, method, typed)


def _reply(message: dict[str, Any], request_id: str | int) -> Message:
    result, error = message.get("result"), message.get("error")
    if not isinstance(result if error is None else error, dict):
        return MalformedMessage("result and error must be objects", request_id)
    return ReplyMessage(request_id, result, error)

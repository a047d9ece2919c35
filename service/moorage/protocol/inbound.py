"""Recognises the modern requests that are beyond doubt well formed.

The rule is *accept fast, reject slowly*: this module proves that an exchange is right, and says nothing about what is wrong
with the others. Those go, body and all, to the SDK's own endpoint, whose refusals are the specification's.

Source: MCP 2026-07-28, basic/transports/streamable-http (routing headers); docs/decisions/2026-11-22-endpoint.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
from mcp.shared.inbound import decode_header_value
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, LOG_LEVEL_META_KEY, PROTOCOL_VERSION_META_KEY
from mcp_types import methods as spec
from mcp_types.version import LATEST_MODERN_VERSION
from pydantic import ValidationError

from moorage.memo import BoundedMemo
from moorage.protocol.encoding import decode_strict

MODERN_VERSION: Final = LATEST_MODERN_VERSION.encode()

MAX_ID_LENGTH: Final = 256
"""Longest JSON-RPC id, in characters, that is echoed: an id comes back in every message of its call."""

NAMED_BY: Final[Mapping[str, str]] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods whose target must stand in `Mcp-Name`, and the parameter that it repeats."""

_REMEMBERED: Final = 4096
_REMEMBERED_BYTES: Final = 2 * 1024 * 1024
"""So many of the usual length, two hundred bytes."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """One modern request, decoded once."""

    id: str | int
    method: str
    params: dict[str, Any]
    meta: dict[str, Any]

    @property
    def progress_token(self) -> str | int | None:
        """The token that progress has to carry, if the caller wants progress."""
        token = self.meta.get("progressToken")
        return token if type(token) is int or type(token) is str else None


def recognise(body: bytes, headers: Mapping[bytes, bytes]) -> Inbound | None:
    """The request in a body, when it is well formed and its routing headers agree with it; else `None`."""
    try:
        decoded = decode_strict(body)
    except (ValueError, RecursionError):
        return None
    if type(decoded) is not dict:
        return None
    message = cast("dict[str, Any]", decoded)
    method, params, request_id = message.get("method"), message.get("params"), message.get("id")
    if message.get("jsonrpc") != "2.0" or not is_bounded_id(request_id) or type(method) is not str or type(params) is not dict:
        return None
    meta = cast("dict[str, Any]", params).get("_meta")
    if type(meta) is not dict:
        return None
    meta = cast("dict[str, Any]", meta)
    if meta.get(PROTOCOL_VERSION_META_KEY) != LATEST_MODERN_VERSION or CLIENT_CAPABILITIES_META_KEY not in meta:
        return None
    if headers.get(b"mcp-method") != method.encode() or not _name_agrees(method, cast("dict[str, Any]", params), headers):
        return None
    return Inbound(cast("str | int", request_id), method, cast("dict[str, Any]", params), meta)


def is_bounded_id(value: object) -> bool:
    """Whether a JSON-RPC id is a string short enough to be echoed, or an integer of 64 bits, which orjson can write; no boolean."""
    if type(value) is str:
        return len(value) <= MAX_ID_LENGTH
    return type(value) is int and -(1 << 63) <= value < (1 << 64)


def _name_agrees(method: str, params: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> bool:
    key = NAMED_BY.get(method)
    if key is None or (name := params.get(key)) is None:
        return True
    header = headers.get(b"mcp-name")
    if header is None:
        return False
    return decode_header_value(header.decode("latin-1")) == name


class Envelopes:
    """Which client envelopes (`_meta` without the per-call parts) the specification's own model has accepted.

    Validity is a function of the envelope alone, and a client sends the same one with every call: each distinct one is
    validated once.
    """

    __slots__ = ("_accepted",)

    def __init__(self) -> None:
        self._accepted: BoundedMemo[bytes, bool] = BoundedMemo(entries=_REMEMBERED, max_bytes=_REMEMBERED_BYTES)

    def accepts(self, inbound: Inbound) -> bool:
        """Whether the request model would accept this request's envelope."""
        meta = inbound.meta
        if LOG_LEVEL_META_KEY in meta or ("progressToken" in meta and inbound.progress_token is None):
            return False
        envelope = (meta[CLIENT_CAPABILITIES_META_KEY], meta.get(CLIENT_INFO_META_KEY))
        try:
            key = orjson.dumps(envelope)
        except TypeError:
            return False
        return self._accepted.get(key) or self._validate(key, *envelope)

    def _validate(self, key: bytes, capabilities: Any, client_info: Any) -> bool:
        meta = {
            PROTOCOL_VERSION_META_KEY: LATEST_MODERN_VERSION,
            CLIENT_CAPABILITIES_META_KEY: capabilities,
            CLIENT_INFO_META_KEY: client_info,
        }
        try:
            spec.validate_client_request("tools/call", LATEST_MODERN_VERSION, {"_meta": meta, "name": "any"})
        except ValidationError:
            return False
        own = bytes(memoryview(key))  # orjson leaves a buffer of up to thirteen times the length with what it writes
        return self._accepted.put(own, True, len(own))

"""What an application answered, in a form in which two answers can be compared.

Compared are the status, the media type, the headers that carry meaning, and the JSON messages (or the raw body where it is not
JSON). JSON is compared as canonical text, so that ``1``, ``1.0`` and ``true`` are three different things and NaN equals itself. Two
things are random by nature and are replaced by a word before: the sealed ``requestState`` and the session id.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .differences import as_moorage_has_it, without_reasons
from .wire import Exchange

MEANINGFUL_HEADERS = ("allow", "cache-control", "retry-after", "www-authenticate", "x-accel-buffering")
"""Others are the server's own business (date, server, CORS, connection)."""

SEALED = "<sealed>"


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    name: str
    data: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One comparable answer. ``body`` holds canonical JSON texts for JSON and SSE, else the body as it came."""

    status: int
    media_type: str
    headers: tuple[tuple[str, str], ...]
    body: tuple[str, ...]
    trace: tuple[str, ...] = ()
    messages: tuple[Any, ...] = field(default=(), compare=False, repr=False)


def canonical(value: Any) -> str:
    """JSON text that is equal exactly when the two values are the same JSON."""
    return json.dumps(_without_chance(value), sort_keys=True)


def _without_chance(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: SEALED if key == "requestState" and isinstance(item, str) and item.startswith("v1.") else _without_chance(item)
            for key, item in value.items()
        }
    return [_without_chance(item) for item in value] if isinstance(value, list) else value


def parse_events(text: str) -> list[Event]:
    """Split a whole event stream; comments and events without data (keep-alives, priming events) are not messages."""
    events: list[Event] = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields: dict[str, list[str]] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        data = "\n".join(fields.get("data", ()))
        if data:
            events.append(Event("".join(fields.get("event", ("message",))), data, next(iter(fields.get("id", ())), None)))
    return events


def read(exchange: Exchange, trace: tuple[str, ...] = ()) -> Answer:
    """The answer of a finished exchange."""
    assert exchange.status is not None, "the application returned without an answer"
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in exchange.headers}
    media_type = headers.get("content-type", "")
    length = headers.get("content-length")
    assert length is None or int(length) == len(exchange.body), f"content-length says {length}, the body has {len(exchange.body)} bytes"
    kept = tuple((name, headers[name]) for name in MEANINGFUL_HEADERS if name in headers)
    if media_type.startswith("application/json") and exchange.body:
        messages = (json.loads(exchange.body),)
        body = tuple(map(canonical, messages))
    elif media_type.startswith("text/event-stream"):
        events = parse_events(exchange.body.decode())
        messages = tuple(json.loads(event.data) for event in events)
        body = tuple(f"{event.name} {canonical(message)}" for event, message in zip(events, messages, strict=True))
    else:
        messages, body = (), (repr(exchange.body),)
    return Answer(exchange.status, media_type, kept, body, trace, messages)


def disagreements(expected: Answer, actual: Answer) -> list[str]:
    """Where two answers differ, one readable line each; empty when they agree."""
    lines = [
        f"{name}: the SDK answers {theirs!r}, the endpoint {ours!r}"
        for name in ("status", "media_type", "headers", "trace")
        if (theirs := getattr(expected, name)) != (ours := getattr(actual, name))
    ]
    # Differences of text that any answer may have are listed in differences.py: half a surrogate pair, and why arguments were rejected.
    if [as_moorage_has_it(line) for line in expected.body] != [without_reasons(line) for line in actual.body]:
        lines += [
            "the SDK's body:",
            *(f"    {line}" for line in expected.body),
            "the endpoint's:",
            *(f"    {line}" for line in actual.body),
        ]
    return lines

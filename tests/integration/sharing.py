"""Clients whose requests go to any replica, event streams as a client reads them, and what a deployment says of itself."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2 as httpx

from moorage.security.api_keys import stored_line
from tests.integration.serving import ACCEPT, LEGACY, initialize, request
from tests.services import Fleet, Redis, Replica

TOOLS = Path(__file__).with_name("shared_tools.py")
WITHIN = 20
ANN, BOB = ("moor_" + letter * 43 for letter in "ab")
KEYS = {"SECURITY__API_KEYS": f"{stored_line('ann', ANN)}\n{stored_line('bob', BOB)}"}
GONE = (404, -32600)
POSITION_LOST = (404, -32010)
OUTCOME_UNKNOWN = -32011


@dataclass(frozen=True)
class Event:
    """One event of a stream; `data` is None for one without."""

    id: str | None
    data: Any


@dataclass
class Events:
    """An event stream, as its client reads it.

    Attributes:
        last: The id that a client would resume from.
        retry: What the server said last about when to come back, in milliseconds.
    """

    response: httpx.Response
    last: str | None = None
    retry: int | None = None
    seen: list[Event] = field(default_factory=list[Event])
    lines: AsyncIterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = self.response.aiter_lines()

    async def _next(self) -> Event | None:
        event_id, data, whole = None, list[str](), False
        async for line in self.lines:
            name, _, value = line.partition(":")
            match name, value.removeprefix(" "):
                case "", "" if line == "" and whole:
                    text = "\n".join(data)
                    self.last = event_id or self.last
                    event = Event(event_id, json.loads(text) if text else None)
                    self.seen.append(event)
                    return event
                case "id", text:
                    event_id, whole = text, True
                case "data", text:
                    data.append(text)
                    whole = True
                case "retry", text:
                    self.retry = int(text)
                case _:
                    pass
        return None

    async def event(self) -> Event:
        """The next event."""
        with anyio.fail_after(WITHIN):
            event = await self._next()
        assert event is not None, f"the stream ended after {self.seen}"
        return event

    async def message(self) -> dict[str, Any]:
        """The next message: events without data are passed over."""
        while (event := await self.event()).data is None:
            pass
        return event.data

    async def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The next message for which something holds."""
        while not condition(message := await self.message()):
            pass
        return message

    async def some(self, most: int) -> list[dict[str, Any]]:
        """The next messages, fewer if the stream ends before."""
        found: list[dict[str, Any]] = []
        with anyio.fail_after(WITHIN):
            while len(found) < most and (event := await self._next()) is not None:
                if event.data is not None:
                    found.append(event.data)
        return found

    async def rest(self) -> list[dict[str, Any]]:
        """All messages up to the end of the stream."""
        found: list[dict[str, Any]] = []
        with anyio.fail_after(WITHIN):
            while (event := await self._next()) is not None:
                if event.data is not None:
                    found.append(event.data)
        return found


@dataclass
class Party:
    """A client with a session, which may go to another replica with each request."""

    http: httpx.AsyncClient
    headers: dict[str, str]

    @property
    def id(self) -> str:
        return self.headers["mcp-session-id"]

    @classmethod
    async def begin(cls, http: httpx.AsyncClient, replica: Replica, token: str | None = None, revision: str = LEGACY) -> Party:
        headers = {"accept": ACCEPT, **({"authorization": f"Bearer {token}"} if token else {})}
        opening = await http.post(f"{replica.url}/mcp", json=initialize(revision=revision), headers=headers)
        assert opening.status_code == 200, opening.text
        party = cls(http, {**headers, "mcp-session-id": opening.headers["mcp-session-id"], "mcp-protocol-version": revision})
        assert (await party.post(replica, {"jsonrpc": "2.0", "method": "notifications/initialized"})).status_code == 202
        return party

    def stranger(self, **headers: str) -> Party:
        """Somebody else with the same session id, or the same client with another one."""
        return Party(self.http, {**self.headers, **headers})

    async def post(self, replica: Replica, message: Mapping[str, Any]) -> httpx.Response:
        return await self.http.post(f"{replica.url}/mcp", json=message, headers=self.headers)

    async def call(self, replica: Replica, tool: str, request_id: Any = 1, **arguments: Any) -> Any:
        """Call a tool to its end; returns the text of its result."""
        response = await self.post(replica, calling(tool, request_id, **arguments))
        assert response.status_code == 200, response.text
        return text_of(last_message(response))

    async def delete(self, replica: Replica) -> httpx.Response:
        return await self.http.request("DELETE", f"{replica.url}/mcp", headers=self.headers)

    @asynccontextmanager
    async def calling(self, replica: Replica, tool: str, request_id: Any = 1, **arguments: Any) -> AsyncGenerator[Events]:
        """A call whose stream is read as it comes."""
        message = calling(tool, request_id, **arguments)
        async with self.http.stream("POST", f"{replica.url}/mcp", json=message, headers=self.headers) as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield Events(response)

    @asynccontextmanager
    async def listening(self, replica: Replica, last: str | None = None) -> AsyncGenerator[Events]:
        """A GET stream, from the beginning or resumed."""
        async with self.stream(replica, last) as response:
            assert response.status_code == 200, await response.aread()
            yield Events(response)

    async def hear(self, replica: Replica, last: str | None, count: int) -> list[dict[str, Any]]:
        """So many messages after a position, on as many streams as it takes."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            async with self.listening(replica, last) as events:
                found += await events.some(count - len(found))
                last = events.last or last
        return found

    @asynccontextmanager
    async def stream(self, replica: Replica, last: str | None = None) -> AsyncGenerator[httpx.Response]:
        """The response to a GET, whatever it is."""
        headers = {**self.headers, "accept": "text/event-stream", **({"last-event-id": last} if last is not None else {})}
        async with self.http.stream("GET", f"{replica.url}/mcp", headers=headers) as response:
            yield response

    async def refused_stream(self, replica: Replica, last: str) -> tuple[int, int]:
        """Status and error code of a GET that is not answered with a stream."""
        async with self.stream(replica, last) as response:
            await response.aread()
            return error_of(response)


def calling(tool: str, request_id: Any = 1, **arguments: Any) -> dict[str, Any]:
    """A call that wants to hear of its progress."""
    return request("tools/call", {"name": tool, "arguments": arguments, "_meta": {"progressToken": f"p{request_id}"}}, request_id)


def last_message(response: httpx.Response) -> dict[str, Any]:
    """The last message of a response, be it JSON or an event stream."""
    if response.headers["content-type"].startswith("application/json"):
        return response.json()
    return [json.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:") and line[5:].strip()][-1]


def text_of(answer: Mapping[str, Any]) -> str:
    """The text of a tool's result."""
    assert "result" in answer, answer
    assert not answer["result"].get("isError"), answer
    return answer["result"]["content"][0]["text"]


def error_of(response: httpx.Response) -> tuple[int, int]:
    """Status and JSON-RPC error code of a refusal."""
    return response.status_code, response.json()["error"]["code"]


def progress_of(messages: list[dict[str, Any]]) -> list[float]:
    return [message["params"]["progress"] for message in messages if message.get("method") == "notifications/progress"]


def numbers_of(messages: list[dict[str, Any]]) -> list[int]:
    """What `tell` said."""
    return [message["params"]["data"] for message in messages if message.get("method") == "notifications/message"]


def is_number(number: int) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message.get("method") == "notifications/message" and message["params"]["data"] == number


async def gauge(http: httpx.AsyncClient, replica: Replica, name: str) -> float:
    """The sum of a metric over all its labels."""
    text = (await http.get(f"{replica.admin_url}/metrics")).text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+-]+)", text, re.MULTILINE))


async def eventually(condition: Callable[[], Any], what: str, within: float = WITHIN) -> Any:
    """Ask another process again and again until it says what is wanted; it has no event to wait on."""
    with anyio.move_on_after(within):
        while True:
            found = await condition()
            if found:
                return found
            await anyio.sleep(0.02)
    raise AssertionError(f"not within {within:g} s: {what}")


@asynccontextmanager
async def deployed(size: int = 2, /, *, store: Redis | None, **settings: str) -> AsyncGenerator[Fleet]:
    """Replicas of one deployment; what they logged is shown when a test fails."""
    fleet = Fleet(TOOLS, size=size, store_url=store.url if store else None, settings={"SESSIONS__LEASE_SECONDS": "2", **settings})
    async with fleet:
        try:
            yield fleet
        except BaseException:
            print(fleet.log)  # shown by pytest when the test fails
            raise

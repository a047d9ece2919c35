"""A client of revision 2025-11-25 that can be cut at any moment, comes back as clients do, and writes down all that it sees.

It speaks to a list of addresses in turn, as a load balancer without stickiness would, and goes on to the next where nobody listens.
What is refused for the moment (Retry-After, under 503 or within a session under 200) is repeated. A stream that ended is resumed from
its last event id; how a call ended is a `Verdict`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.chaos.history import GET_STREAM, Asked, Ended, Gap, History, Kind, Lost, Received, Resumed, stream_of
from tests.chaos.wire import BROKEN, Address, Event, Exchange, request

REVISION: Final = "2025-11-25"
POSITION_GONE: Final = -32010
PATIENCE_SECONDS: Final = 30.0
RECONNECT_SECONDS: Final = 0.2
"""Pause before a client comes back when the server did not say how long it should be."""

How = Literal["close", "leave"]
"""Whether a cut closes the socket, or leaves it open and unread."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Give a connection up after so many integers, or so many seconds, and come back after a delay."""

    delay_seconds: float
    how: How = "close"
    after_integers: int | None = None
    after_seconds: float | None = None


@dataclass(slots=True, eq=False)
class Reading:
    """One position in one stream, over all connections that carry it."""

    session: str
    stream: str
    reader: str = ""
    request_id: int | None = None
    position: str | None = None
    retry_seconds: float | None = None
    lost_at: float | None = None
    integers: int = 0
    exchange: Exchange | None = None
    task: asyncio.Task[dict[str, Any] | None] | None = None
    cut: Cut | None = None

    def interrupt(self, cut: Cut) -> bool:
        """Cut the connection that carries it now; False when there is none."""
        if self.task is None or self.task.done():
            return False
        self.cut = cut
        self.task.cancel()
        return True


@dataclass(slots=True)
class Session:
    """A session as its client knows it."""

    label: str
    headers: dict[str, str]
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    get: Reading | None = None


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The server answered with an HTTP refusal."""

    def __init__(self, status: int, code: int) -> None:
        super().__init__(f"{status}, code {code}")
        self.status = status
        self.code = code


class Client:
    """One client with one session at a time; ends all that it started when its block ends."""

    def __init__(self, name: str, addresses: Sequence[Address], history: History, seed: int, *, key: str | None = None) -> None:
        self.small_buffers = False
        self.name = name
        self.addresses = addresses
        self.history = history
        self.random = random.Random(f"{seed}:{name}")
        self.session: Session
        self.readings: set[Reading] = set()
        self._turn = self.random.randrange(1000)
        self._sessions = itertools.count(1)
        self._basic = {"accept": "application/json, text/event-stream"} | ({"authorization": f"Bearer {key}"} if key else {})
        self._left: list[Exchange] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Client:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every task and connection; the session stays."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for exchange in self._left:
            exchange.cut()
        await asyncio.sleep(0)  # the loop closes what was cut at its next turn

    # The session

    async def open(self) -> None:
        """Begin a session, within `PATIENCE_SECONDS`.

        Raises:
            Refused: it was refused for good.
        """
        params = {
            "protocolVersion": REVISION,
            "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "chaos", "version": "1"},
        }
        async with asyncio.timeout(PATIENCE_SECONDS):
            exchange = await self._send("POST", self._basic, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
            await self._message(exchange)
            headers = {**self._basic, "mcp-session-id": exchange.headers["mcp-session-id"], "mcp-protocol-version": REVISION}
            self.session = Session(f"{self.name}.{next(self._sessions)}", headers)
            (await self._send("POST", headers, {"jsonrpc": "2.0", "method": "notifications/initialized"})).cut()

    async def delete(self) -> int:
        """End the session; returns the status."""
        exchange = await self._send("DELETE", self.session.headers, None)
        exchange.cut()
        return exchange.status

    async def owner(self, address: Address | None = None) -> int:
        """The process that serves the session now, asked at one address or at the next in turn.

        Raises:
            Refused, OSError, EOFError, TimeoutError: It could not be told.
        """
        message = {"jsonrpc": "2.0", "id": next(self.session.ids), "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
        exchange = await self._send("POST", self.session.headers, message, address)
        if exchange.streams:
            async for event in exchange.events():
                if event.data and "result" in (answer := json.loads(event.data)):
                    exchange.cut()
                    return int(answer["result"]["structuredContent"]["result"])
            raise EOFError("the stream ended without an answer")
        return int((await self._message(exchange))["result"]["structuredContent"]["result"])

    async def _message(self, exchange: Exchange) -> dict[str, Any]:
        """The JSON-RPC message of an answer.

        Raises:
            Refused: it is a refusal.
        """
        if exchange.status >= 300:
            code = (await exchange.message()).get("error", {}).get("code", exchange.status)
            raise Refused(exchange.status, code)
        if not exchange.streams:
            return await exchange.message()
        async for event in exchange.events():
            if event.data:
                exchange.cut()
                return json.loads(event.data)
        raise EOFError("the stream ended without a message")

    async def _send(self, method: str, headers: dict[str, str], message: Any, address: Address | None = None) -> Exchange:
        """Send a request until somebody takes it: a refused connection and a refusal for the moment have no effect at the server."""
        while True:
            for _ in self.addresses:
                target = address or self._next_address()
                try:
                    exchange = await request(target, method, headers, message, small_buffer=self.small_buffers)
                except ConnectionRefusedError:
                    continue
                if "retry-after" not in exchange.headers:
                    return exchange
                exchange.cut()
                await asyncio.sleep(float(exchange.headers.get("retry-after", 1)) * self.random.uniform(0.8, 1.2))
            await asyncio.sleep(self.random.uniform(0.05, 0.15))

    def _next_address(self) -> Address:
        self._turn += 1
        return self.addresses[self._turn % len(self.addresses)]

    # Calls

    async def call(
        self,
        tool: str,
        count: int = 0,
        *,
        pause_seconds: float = 0,
        pad: int = 0,
        cuts: Sequence[Cut] = (),
        patience_seconds: float = PATIENCE_SECONDS,
        request_id: int | None = None,
    ) -> Ended:
        """Call a tool, cutting its connection as told, until it has ended or `patience_seconds` are over."""
        session = self.session
        count = 0 if tool == "ask" else count
        call = self.history.integers(count)
        request_id = next(session.ids) if request_id is None else request_id
        arguments: dict[str, Any] = (
            {"call": call} if tool == "ask" else {"call": call, "count": count, "pause_seconds": pause_seconds, "pad": pad}
        )
        message = {
            "jsonrpc": "2.0",
            "id": request_id,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments, "_meta": {"progressToken": f"p{call}"}},
        }
        self.history.add(Asked(time.time(), session.label, call, count, tool, count * pause_seconds))
        reading = Reading(session.label, stream_of(call), request_id=request_id)
        ended = Ended(0, session.label, call, "silent")
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                ended = await self._converse(session, reading, message, list(cuts), ended)
        ended = Ended(time.time(), ended.session, ended.call, ended.verdict, ended.code, ended.named)
        self.history.add(ended)
        return ended

    async def _converse(self, session: Session, reading: Reading, message: dict[str, Any], cuts: list[Cut], asked: Ended) -> Ended:
        def ended(verdict: Literal["error", "refused", "cut"], code: int | None = None) -> Ended:
            return Ended(0, asked.session, asked.call, verdict, code)

        try:
            exchange = await self._send("POST", session.headers, message)
            answer = None if exchange.streams else await self._message(exchange)
            while answer is None:
                answer = await self._read(session, reading, exchange, cuts.pop(0) if cuts else None)
                if answer is None:
                    if reading.position is None:
                        return ended("cut")
                    exchange = await self._resume(session, reading)
        except Refused as refused:
            if refused.status == 404 and refused.code != POSITION_GONE:
                session.gone.set()
            return ended("refused", refused.code)
        except BROKEN:
            return ended("cut")
        if "error" in answer:
            return ended("error", answer["error"]["code"])
        if answer["result"].get("isError"):
            return ended("error")
        content = answer["result"].get("structuredContent") or {}
        mine = answer["id"] == reading.request_id
        return Ended(0, asked.session, asked.call, "result", named=content.get("call") if mine else None)

    async def _resume(self, session: Session, reading: Reading) -> Exchange:
        """Open the stream again at its position, until a connection carries it.

        Raises:
            Refused: The position cannot be honoured, or the session is gone.
        """
        await asyncio.sleep(self._pause(reading))
        while True:
            try:
                exchange = await self._send("GET", {**session.headers, "last-event-id": reading.position or ""}, None)
            except BROKEN:
                await asyncio.sleep(self._pause(reading))
                continue
            if exchange.status != 200:
                await self._message(exchange)
            return exchange

    def _pause(self, reading: Reading) -> float:
        if reading.cut is not None:
            cut, reading.cut = reading.cut, None
            return cut.delay_seconds
        wanted = RECONNECT_SECONDS if reading.retry_seconds is None else reading.retry_seconds
        return wanted * self.random.uniform(0.5, 1.0)

    # Reading

    async def _read(self, session: Session, reading: Reading, exchange: Exchange, cut: Cut | None = None) -> dict[str, Any] | None:
        """Read one connection until the answer comes, or the connection ends or is cut; then None."""
        reading.exchange = exchange
        reading.task = asyncio.create_task(self._read_events(session, reading, exchange, cut))
        self.readings.add(reading)
        timer = (
            asyncio.get_running_loop().call_later(cut.after_seconds, reading.interrupt, cut)
            if cut is not None and cut.after_seconds is not None
            else None
        )
        try:
            await asyncio.wait({reading.task})
            if not reading.task.cancelled():
                return reading.task.result()
        except asyncio.CancelledError:
            exchange.cut()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            reading.task.cancel()
            self.readings.discard(reading)
        self._give_up(reading, exchange)
        return None

    def _give_up(self, reading: Reading, exchange: Exchange) -> None:
        assert reading.cut is not None, "a reading was cancelled that nobody interrupted"
        if reading.cut.how == "leave":
            exchange.leave_unread()
            self._left.append(exchange)
        else:
            exchange.cut()
        self._lost(reading, reading.cut.how)

    def _lost(self, reading: Reading, how: str) -> None:
        now = time.time()
        reading.lost_at = now if reading.lost_at is None else reading.lost_at
        self.history.add(Lost(now, reading.session, reading.stream, how))

    async def _read_events(self, session: Session, reading: Reading, exchange: Exchange, cut: Cut | None) -> dict[str, Any] | None:
        until = None if cut is None or cut.after_integers is None else reading.integers + cut.after_integers
        try:
            async for event in exchange.events():
                answer = self._take(session, reading, event)
                if answer is not None:
                    exchange.cut()
                    return answer
                if until is not None and reading.integers >= until:
                    reading.cut = cut
                    self._give_up(reading, exchange)
                    return None
        except BROKEN as error:
            self._lost(reading, type(error).__name__)
        else:
            self._lost(reading, "ended")
        exchange.cut()
        return None

    def _take(self, session: Session, reading: Reading, event: Event) -> dict[str, Any] | None:
        """Write an event down; returns the answer to the call if it is that."""
        if reading is session.get:
            session.listening.set()
        if event.event_id is not None:
            reading.position = event.event_id
        if event.retry_seconds is not None:
            reading.retry_seconds = event.retry_seconds
        if not event.data:
            return None
        if reading.lost_at is not None:
            self.history.add(Resumed(time.time(), reading.session, reading.stream, time.time() - reading.lost_at))
            reading.lost_at = None
        message = json.loads(event.data)
        match message.get("method"):
            case "notifications/message":
                data = message["params"]["data"]
                self._receive(reading, "notice" if reading.stream == GET_STREAM else "log", data, event.event_id)
            case "notifications/progress":
                params = message["params"]
                self._receive(reading, "progress", json.loads(params["message"]), event.event_id, params["progress"])
            case "elicitation/create":
                self._start(self._reply(session, message))
            case None:
                return message
            case _:
                pass
        return None

    def _receive(self, reading: Reading, kind: Kind, data: dict[str, Any], event_id: str | None, progress: float | None = None) -> None:
        reading.integers += 1
        record = Received(
            time.time(), reading.session, reading.stream, kind, data["value"], data["run"], event_id, progress, reading.reader
        )
        self.history.add(record)

    async def _reply(self, session: Session, question: dict[str, Any]) -> None:
        """Answer the question with the integer that it names, until somebody has said what became of the answer."""
        content = {"value": int(question["params"]["message"])}
        reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": content}}
        while True:
            try:
                exchange = await self._send("POST", session.headers, reply)
            except BROKEN:  # it may have arrived; an answer that comes twice does no harm
                await asyncio.sleep(self.random.uniform(0.05, 0.15))
            else:
                exchange.cut()
                return

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The GET stream

    async def read_beside(self, reader: str, position: str | None) -> Reading:
        """Open the GET stream once more, at a position; the reading's task is done when that connection ends.

        Raises:
            Refused: The stream or the position cannot be had.
        """
        session = self.session
        reading = Reading(session.label, GET_STREAM, reader=reader, position=position)
        exchange = await self._open_get(session, reading)
        self._start(self._read_once(session, reading, exchange))
        await asyncio.sleep(0)
        return reading

    async def _read_once(self, session: Session, reading: Reading, exchange: Exchange) -> None:
        await self._read(session, reading, exchange)

    async def listen(self, *, wait: bool = True) -> None:
        """Keep the session's GET stream open from now on, and wait until it is."""
        session = self.session
        session.get = Reading(session.label, GET_STREAM)
        self._start(self._keep_listening(session, session.get))
        if wait:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await session.listening.wait()

    async def _keep_listening(self, session: Session, reading: Reading) -> None:
        told = False
        while not session.gone.is_set():
            whole = told or reading.position is not None or not session.listening.is_set()
            try:
                exchange = await self._open_get(session, reading)
            except Refused as refused:
                told = self._refused(session, reading, refused)
                await asyncio.sleep(self._pause(reading))
                continue
            if not whole:
                self.history.add(Gap(time.time(), reading.session, GET_STREAM, "fresh"))
            told = False
            if reading.lost_at is not None:
                self.history.add(Resumed(time.time(), reading.session, GET_STREAM, time.time() - reading.lost_at))
                reading.lost_at = None
            await self._read(session, reading, exchange)
            await asyncio.sleep(self._pause(reading))

    async def _open_get(self, session: Session, reading: Reading) -> Exchange:
        position = {} if reading.position is None else {"last-event-id": reading.position}
        while True:
            try:
                exchange = await self._send("GET", {**session.headers, **position}, None)
            except BROKEN:
                await asyncio.sleep(self._pause(reading))
                continue
            if exchange.status != 200:
                await self._message(exchange)
            return exchange

    def _refused(self, session: Session, reading: Reading, refused: Refused) -> bool:
        """Write a refusal of the GET stream down; returns whether the client knows now that something may be missing."""
        if refused.status == 404:
            position = refused.code == POSITION_GONE
            self.history.add(Gap(time.time(), reading.session, GET_STREAM, "position" if position else "session"))
            reading.position = None
            if not position:
                session.gone.set()
        else:
            self._lost(reading, f"refused with {refused}")
        return refused.status == 404

"""The other end of a driver: a program around a client that nobody here wrote, told what to do and heard line by line.

A driver does nothing by itself; what is right or wrong is decided by whoever commands it. Every wait is bounded.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.services import ServiceError

COMMAND_SECONDS = 20.0
_LINE_BYTES = 1 << 20

Event = dict[str, Any]


class Refused(Exception):  # noqa: N818 - an observation, not a fault of ours
    """The client raised; `code` is that of a JSON-RPC error or of the client's own."""

    def __init__(self, code: int | str | None, message: str) -> None:
        super().__init__(f"{code}: {message}" if code is not None else message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool call gave."""

    text: str
    failed: bool


class Driver:
    """A running driver.

    Attributes:
        events: What its clients met, in order.
    """

    def __init__(self, command: Sequence[str | Path], folder: Path) -> None:
        self._command = [str(part) for part in command]
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._grown = asyncio.Condition()
        self._next = 0
        self.events: list[Event] = []

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=self._folder, stdin=pipe, stdout=pipe, stderr=pipe, limit=_LINE_BYTES
        )
        self._listener = asyncio.create_task(self._listen(self._process))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._listener is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)

    async def do(self, what: str, within: float = COMMAND_SECONDS, **details: Any) -> Any:
        """Have it do something, and return what that gave.

        Raises:
            Refused: The client raised.
            ServiceError: It did nothing in time, or has ended.
        """
        return await self.finish(self.begin(what, **details), within)

    def begin(self, what: str, **details: Any) -> int:
        """Have it begin something; returns the number under which its events and its end are known."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._next += 1
        self._replies[self._next] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": self._next, "do": what, **details}).encode() + b"\n")
        return self._next

    async def finish(self, number: int, within: float = COMMAND_SECONDS) -> Any:
        """Wait for the end of what was begun."""
        try:
            async with asyncio.timeout(within):
                reply = await self._replies[number]
        except TimeoutError:
            raise ServiceError(f"the client gave no answer within {within:g} s; it met {self._tail()}") from None
        if "error" in reply:
            raise Refused(reply["error"]["code"], reply["error"]["message"])
        return reply["value"]

    async def seen(self, condition: Callable[[Event], object], what: str, since: int = 0, within: float = COMMAND_SECONDS) -> Event:
        """Wait for an event, from the event `since` on.

        Raises:
            ServiceError: There was none in time.
        """
        try:
            async with asyncio.timeout(within), self._grown:
                while True:
                    for event in self.events[since:]:
                        if condition(event):
                            return event
                    await self._grown.wait()
        except TimeoutError:
            raise ServiceError(f"not within {within:g} s: {what}; the client met {self._tail()}") from None

    def _tail(self) -> str:
        return "; ".join(json.dumps(event) for event in self.events[-8:]) or "nothing"

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            message = json.loads(line)
            if "event" in message:
                async with self._grown:
                    self.events.append(message)
                    self._grown.notify_all()
            elif not (reply := self._replies[message["id"]]).done():  # nobody waits any longer for one that came too late
                reply.set_result(message)
        await self._tell_all_that_it_ended(process)

    async def _tell_all_that_it_ended(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        said = (await process.stderr.read()).decode(errors="replace")[-2000:]
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(ServiceError(f"the driver has ended:\n{said}"))


class Connection:
    """One client in a driver, connected.

    Attributes:
        revision: What was negotiated.
        session: The session's id; None in an era without sessions.
    """

    def __init__(self, driver: Driver, number: int, opened: dict[str, Any]) -> None:
        self._driver = driver
        self._number = number
        self.revision: str = opened["revision"]
        self.session: str | None = opened["session"]

    @classmethod
    async def open(cls, driver: Driver, url: str, guise: str, *, thinks: bool = False) -> Connection:
        """Connect a new client, in the guise of a revision; one that `thinks` answers no question until it is told to."""
        number = driver.begin("connect", url=url, guise=guise, thinks=thinks)
        return cls(driver, number, await driver.finish(number))

    async def tools(self) -> list[str]:
        """The names of the tools."""
        return await self._driver.do("tools", on=self._number)

    async def call(self, tool: str, **arguments: Any) -> Answer:
        """Call a tool."""
        return await self.finish(self.begin(tool, **arguments))

    def begin(self, tool: str, client_waits: float = COMMAND_SECONDS, **arguments: Any) -> int:
        """Begin a call, to which the client itself sets a time-out in seconds."""
        return self._driver.begin("call", on=self._number, tool=tool, arguments=arguments, seconds=client_waits)

    async def finish(self, call: int, within: float = COMMAND_SECONDS + 5) -> Answer:
        """Wait for the end of a call; in the normal course of things, its client's own time-out comes first."""
        return Answer(**await self._driver.finish(call, within))

    async def error(self, call: int, within: float = COMMAND_SECONDS + 5) -> int | str | None:
        """Wait for a call's end in an error; returns its code, that of JSON-RPC or the client's own.

        Raises:
            Refused: It ended with an answer.
        """
        try:
            answer = await self.finish(call, within)
        except Refused as refused:
            return refused.code
        raise Refused(None, f"an error was expected, and {answer} came")

    async def cancel(self, call: int) -> None:
        """Have the client cancel a call."""
        await self._driver.do("cancel", call=call)

    async def asked(self, since: int = 0) -> None:
        """Wait until the client's user is asked something."""
        await self._driver.seen(lambda event: self._mine(event) and event["event"] == "asked", "a question", since)

    async def next_post(self, since: int) -> int:
        """Wait until a POST of the client is answered, and return the status."""
        event = await self._driver.seen(
            lambda event: self._mine(event) and event["event"] == "exchange" and event["method"] == "POST", "a POST is answered", since
        )
        return event["status"]

    async def answer(self) -> None:
        """Have the client's user answer."""
        await self._driver.do("answer", on=self._number)

    async def end(self) -> None:
        """End the session, and close the client."""
        await self._driver.do("end", on=self._number)

    def progress(self, call: int) -> list[float]:
        """The progress of a call, as the client showed it."""
        return [event["progress"] for event in self._driver.events if event["event"] == "progress" and event["of"] == call]

    async def first_progress(self, call: int) -> str:
        """Wait for a call's first progress, and return its message."""
        event = await self._driver.seen(lambda event: event["event"] == "progress" and event["of"] == call, "progress")
        return event["message"]

    @property
    def mark(self) -> int:
        """Where the events of now begin."""
        return len(self._driver.events)

    async def told_of_change(self, since: int = 0, within: float = COMMAND_SECONDS) -> None:
        """Wait until the client has heard that a list changed."""
        await self._driver.seen(lambda event: self._mine(event) and event["event"] == "changed", "a change is heard of", since, within)

    async def streams(self, since: int = 0, within: float = COMMAND_SECONDS, *, count: int = 1, resumed: bool = False) -> None:
        """Wait until the client has opened so many streams by GET."""

        def enough(_: Event) -> bool:
            return self.streams_opened(since, resumed=resumed) >= count

        await self._driver.seen(enough, f"{count} streams are {'resumed' if resumed else 'opened'}", since, within)

    def streams_opened(self, since: int = 0, *, resumed: bool = False) -> int:
        """How many streams the client has opened by GET; `resumed` counts those with a position."""
        return sum(
            event["event"] == "exchange" and event["method"] == "GET" and event["status"] == 200 and event["position"] >= resumed
            for event in self._driver.events[since:]
            if self._mine(event)
        )

    async def streams_within(self, seconds: float, since: int) -> int:
        """How many streams the client has opened by GET when a time is over, or as soon as it has opened one."""
        with suppress(ServiceError):
            await self.streams(since, seconds)
        return self.streams_opened(since)

    def _mine(self, event: Event) -> bool:
        return event.get("on") == self._number

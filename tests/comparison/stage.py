"""Both applications, started side by side with servers built alike, and the means to play one exchange to both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from . import subject
from .answer import Answer, read
from .case import Case
from .servers import Built, Notes, build
from .wire import App, Exchange, Request, lifespan, play

SERVERS = ("everyday", "guarded", "lowlevel")
Factory = Callable[[Built, bool], App]


def by_the_sdk(built: Built, json_response: bool) -> App:
    """The SDK's own application."""
    return subject.reference(built.server, json_response=json_response)


def by_moorage(built: Built, json_response: bool) -> App:
    """The endpoint under test."""
    return subject.subject(built.server, json_response=json_response)


@dataclass(frozen=True, slots=True)
class Side:
    """One application and the notes of the server behind it."""

    app: App
    notes: Notes

    async def play(self, request: Request) -> Answer:
        """Play one request to its end."""
        exchange = await play(self.app, request)
        return read(exchange, self.notes.take())

    def begin(self, request: Request) -> Exchange:
        """Start a request that the test wants to watch."""
        return Exchange(self.app, request)


@dataclass(frozen=True, slots=True)
class Stage:
    """The SDK's side and ours, by the name of the server."""

    json_response: bool
    sdk: Mapping[str, Side]
    ours: Mapping[str, Side]

    async def play(self, case: Case) -> tuple[Answer, Answer]:
        """The SDK's answer and ours."""
        return await self.sdk[case.server].play(case.request), await self.ours[case.server].play(case.request)


@asynccontextmanager
async def sides(factory: Factory, json_response: bool) -> AsyncIterator[dict[str, Side]]:
    """Start one application for each server."""
    async with AsyncExitStack() as stack:
        started: dict[str, Side] = {}
        for name in SERVERS:
            built = build(name)
            app = factory(built, json_response)
            await stack.enter_async_context(lifespan(app))
            started[name] = Side(app, built.notes)
        yield started


@asynccontextmanager
async def open_stage(json_response: bool, ours: Factory = by_moorage) -> AsyncIterator[Stage]:
    """Start both applications for every server."""
    async with sides(by_the_sdk, json_response) as reference, sides(ours, json_response) as under_test:
        yield Stage(json_response, reference, under_test)


def body_of(answer: Answer) -> Any:
    """The last JSON message of an answer."""
    return answer.messages[-1]

"""A start that fails is told once and in words, wherever it failed."""

import gc
import logging
from collections.abc import AsyncGenerator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI

from moorage.errors import MoorageError, SettingsError, TargetError
from moorage.runtime.startup import PlainStart, StartReports, building

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def uvicorn_log() -> Iterator[None]:
    yield
    logging.getLogger("uvicorn.error").disabled = False


def test_the_first_report_arrives_as_it_was_sent() -> None:
    reports = StartReports()
    assert reports.receive() is None
    reports.send(TargetError("there is no file x.py", "write it"))
    reports.send(SettingsError("another worker says something else"))
    error = reports.receive()
    assert (type(error), error and error.message, error and error.hint) == (TargetError, "there is no file x.py", "write it")


def test_a_very_long_message_is_cut_and_still_arrives() -> None:
    reports = StartReports()
    reports.send(SettingsError("ü" * 100_000, "ß" * 100_000))
    error = reports.receive()
    assert error is not None
    assert error.message == "ü" * len(error.message)
    assert error.hint == "ß" * len(error.hint)


def test_any_number_of_workers_can_report_and_none_waits() -> None:
    reports = StartReports()
    for _ in range(1000):
        reports.send(SettingsError("x" * 1000))
    assert reports.receive() is not None


class Server:
    """The ASGI server's side of a start."""

    def __init__(self) -> None:
        self.sent: list[MutableMapping[str, Any]] = []

    async def receive(self) -> MutableMapping[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)


def app_that_fails_with(error: BaseException) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
        if error:
            raise error
        yield

    return FastAPI(lifespan=lifespan)


LIFESPAN = {"type": "lifespan", "state": {}}
REFUSAL = SettingsError("the port is taken", "take another")


@pytest.mark.parametrize("error", [REFUSAL, ExceptionGroup("tasks", [ExceptionGroup("inner", [REFUSAL])])], ids=["bare", "in groups"])
async def test_a_refusal_in_the_lifespan_is_told_in_words_and_not_to_the_log(error: Exception) -> None:
    told: list[MoorageError] = []
    server = Server()
    with pytest.raises(type(error)):
        await PlainStart(app_that_fails_with(error), told.append)(LIFESPAN, server.receive, server.send)
    assert told == [REFUSAL]
    assert server.sent == [{"type": "lifespan.startup.failed", "message": ""}]


async def test_a_fault_nobody_foresaw_keeps_its_traceback() -> None:
    told: list[MoorageError] = []
    server = Server()
    with pytest.raises(ZeroDivisionError):
        await PlainStart(app_that_fails_with(ZeroDivisionError()), told.append)(
            {"type": "lifespan", "state": {}}, server.receive, server.send
        )
    assert told == []
    assert "ZeroDivisionError" in server.sent[0]["message"]


async def test_requests_reach_the_app_as_they_are() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    server, scope = Server(), {"type": "http"}
    await PlainStart(app, lambda _: None)(scope, server.receive, server.send)
    assert seen == [(scope, server.receive, server.send)]
    assert seen[0][0] is scope


def test_the_collector_is_at_work_again_after_a_build_even_if_it_failed() -> None:
    def fail() -> None:
        assert not gc.isenabled()
        raise SettingsError("no")

    with pytest.raises(SettingsError), building():
        fail()
    try:
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()

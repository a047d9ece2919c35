"""What holds up the event loop is named while it does, by a thread beside it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import anyio
import pytest

from moorage.lifecycle import loop_watch
from moorage.lifecycle.loop_watch import LATELY_SECONDS, LoopAccount, LoopWatch, where
from moorage.lifecycle.supervised import FAULTS
from tests.logged import logged

pytestmark = pytest.mark.anyio

LIMIT_SECONDS = 0.05


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


class Account(LoopAccount):
    """Tells when a block was noted."""

    def __init__(self) -> None:
        super().__init__()
        self.noted = threading.Event()

    def blocked(self, by: str, seconds: float, *, again: bool = False) -> None:
        super().blocked(by, seconds, again=again)
        self.noted.set()


class Looks:
    """Stands for what names the running call; tells when it was asked."""

    def __init__(self, facts: Mapping[str, str] | Exception) -> None:
        self.facts = facts
        self.asked = threading.Event()

    def __call__(self, _frame: FrameType) -> Mapping[str, str]:
        self.asked.set()
        if isinstance(self.facts, Exception):
            raise self.facts
        return self.facts


def hold_up_until(event: threading.Event) -> None:
    assert event.wait(10)


async def comes(event: threading.Event) -> None:
    """Wait for something that the watching thread does, on a loop that turns."""
    with anyio.fail_after(10):
        while not event.is_set():
            await asyncio.sleep(0)


async def test_a_block_is_told_once_with_line_tool_and_length_when_it_is_over() -> None:
    account, looks, lags = Account(), Looks({"tool": "slow"}), list[float]()
    with logged() as logs, LoopWatch(LIMIT_SECONDS, running=looks, lagged=lags.append, account=account):
        hold_up_until(looks.asked)
        await comes(account.noted)
    (event,) = logs
    assert event["event"] == "loop.blocked"
    assert (event["log_level"], event["tool"], event["over"]) == ("warning", "slow", True)
    line = hold_up_until.__code__.co_firstlineno + 1
    assert event["where"] == f"{__file__}:{line} in hold_up_until"
    assert event["seconds"] == round(max(lags), 3) >= LIMIT_SECONDS
    assert account.blocks == 1
    assert account.longest() == max(lags)
    assert "tool slow at" in (account.blocked_lately() or "")


async def test_a_block_without_end_is_told_while_it_lasts_and_not_again_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_watch, "TOLD_AFTER_SECONDS", 0.0)
    account, looks, lags = Account(), Looks({"tool": "slow"}), list[float]()
    with logged() as logs, LoopWatch(LIMIT_SECONDS, running=looks, lagged=lags.append, account=account):
        hold_up_until(account.noted)
        account.noted.clear()
        assert [event["over"] for event in logs] == [False]
        await comes(account.noted)  # the length, once it is known
    assert len(logs) == account.blocks == 1
    assert f"{max(lags):.1f} s" in (account.blocked_lately() or "")


async def test_each_block_has_an_event_of_its_own() -> None:
    account = Account()
    with logged() as logs, LoopWatch(LIMIT_SECONDS, running=(looks := Looks({})), lagged=lambda _: None, account=account):
        for _ in range(2):
            looks.asked.clear()
            hold_up_until(looks.asked)
            await comes(account.noted)
            account.noted.clear()
    assert [event["event"] for event in logs] == ["loop.blocked"] * 2
    assert account.blocks == 2


async def test_a_block_in_which_no_thread_could_look_is_told_without_a_line() -> None:
    account, looks = Account(), Looks({})
    watch = LoopWatch(LIMIT_SECONDS, running=looks, lagged=lambda _: None, account=account)
    with logged() as logs, watch:
        watch._due -= 1  # as after a second in which the interpreter's lock was held
        watch._beat()
        await comes(account.noted)
    assert [(event["where"], event["over"]) for event in logs] == [("unknown", True)]


async def test_a_loop_that_turns_is_never_told_of_and_its_lag_is_measured() -> None:
    account, lags = Account(), list[float]()
    with logged() as logs, LoopWatch(60, running=Looks({}), lagged=lags.append, account=account), anyio.fail_after(10):
        while len(lags) < 3:
            await asyncio.sleep(0)
    assert logs == []
    assert account.blocks == 0
    assert min(lags) >= 0


async def test_a_fault_of_what_names_the_call_is_counted_and_leaves_the_thread_running() -> None:
    before = FAULTS.counts["loop-watch"]
    looks = Looks(RuntimeError("broken"))
    with logged() as logs:
        watch = LoopWatch(LIMIT_SECONDS, running=looks, lagged=lambda _: None, account=Account())
        with watch:
            hold_up_until(looks.asked)
            with anyio.fail_after(10):
                while FAULTS.counts["loop-watch"] == before:
                    await asyncio.sleep(0)
            assert watch._thread.is_alive()
    assert [(event["event"], event["task"]) for event in logs] == [("background.failed", "loop-watch")]
    FAULTS._latest.clear()


async def test_it_ends_with_its_context_and_several_watch_one_loop() -> None:
    watches = [LoopWatch(60, running=Looks({}), lagged=lambda _: None, account=Account()) for _ in range(3)]
    with watches[0], watches[1], watches[2]:
        threads = [watch._thread for watch in watches]
        assert all(thread.is_alive() and thread.daemon for thread in threads)
    assert not any(thread.is_alive() for thread in threads)


@pytest.fixture
def frame_of() -> Callable[..., FrameType]:
    """The innermost frame of functions that call each other, each in a file of that name."""

    def build(*files: str) -> FrameType:
        def inner() -> FrameType:
            return sys._getframe()

        function: Callable[[], FrameType] = inner
        frames: list[FrameType] = []
        for file in reversed(files):
            scope: dict[str, Any] = {"inner": function, "frames": frames, "sys": sys}
            exec(compile("def f():\n    frames.append(sys._getframe())\n    return inner()\n", file, "exec"), scope)
            function = scope["f"]
        function()
        return frames[-1]

    return build


PACKAGES = "/venv/lib/python3.13/site-packages"
STDLIB = loop_watch._STANDARD_LIBRARY[0]


@pytest.mark.parametrize(
    ("stack", "named"),
    [
        (["/team/tools.py", f"{PACKAGES}/requests/api.py", f"{STDLIB}ssl.py"], "/team/tools.py"),
        (["/team/tools.py", "/team/deep.py", "<string>"], "/team/deep.py"),
        ([f"{PACKAGES}/team_server/tools.py", f"{PACKAGES}/requests/api.py"], f"{PACKAGES}/team_server/tools.py"),
        ([f"{PACKAGES}/one_module.py", f"{STDLIB}socket.py"], f"{PACKAGES}/one_module.py"),
        ([f"{PACKAGES}/pydantic/main.py"], f"{PACKAGES}/pydantic/main.py"),
    ],
)
def test_the_line_that_is_named_is_the_teams_own(stack: list[str], named: str, frame_of: Callable[..., FrameType]) -> None:
    outside = ["/usr/bin/starts-it", f"{PACKAGES}/uvicorn/server.py", f"{STDLIB}asyncio/runners.py", f"{PACKAGES}/mcp/tool.py"]
    found = where(frame_of(*outside, *stack))
    assert found.startswith(f"{named}:")
    assert found.endswith(" in f")


def test_the_longest_lag_is_that_of_the_last_minute_and_a_block_leaves_readiness_after_it() -> None:
    now = 0.0
    account = LoopAccount(lambda: now)
    account.lagged(3.0)
    account.blocked("tool slow at tools.py:1 in slow", 3.0)
    assert account.blocked_lately() == "held up for 3.0 s by tool slow at tools.py:1 in slow (1 times in all); see the log"
    now = LATELY_SECONDS + 1
    account.lagged(0.1)
    assert account.longest() == 3.0
    assert account.blocked_lately() is None
    now = 2 * LATELY_SECONDS + 2
    assert account.longest() == 0.1
    now = 10 * LATELY_SECONDS
    assert account.longest() == 0.0

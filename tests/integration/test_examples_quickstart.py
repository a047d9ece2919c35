"""examples/quickstart as `make run` starts it: what it prints is what is typed here."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest

from moorage.client import Session, connect
from tests.integration.example_servers import ROOT, clean_environ, free_ports, running

pytestmark = pytest.mark.anyio

RUN = ROOT / "examples/quickstart/run"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The running quickstart: the URL of its endpoint and the text it printed before it served."""
    port, admin_port = free_ports(2)
    printed = tmp_path_factory.mktemp("run") / "printed"
    environ = {**clean_environ(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PRINTED": str(printed)}
    command = ["bash", "-c", f'exec "$0" {port} {admin_port} >"$PRINTED"', str(RUN)]
    with running(command, environ, admin_port):
        yield f"http://127.0.0.1:{port}/mcp", printed.read_text()


@pytest.fixture(params=["auto", "legacy"])
async def session(started: tuple[str, str], request: pytest.FixtureRequest) -> Any:
    async def accept(message: str, schema: dict[str, Any]) -> dict[str, Any]:
        assert message == "Book berth A2 for Ida, 2 night(s), for 50.00?"
        return {"accept": True}

    async with connect(started[0], mode=request.param, on_question=accept) as session:
        yield session


async def structured(session: Session, tool: str, **arguments: Any) -> dict[str, Any] | None:
    with anyio.fail_after(30):
        result = await session.call_tool(tool, arguments)
    assert not result.is_error, result
    return result.structured_content


async def test_a_quick_sum(session: Session) -> None:
    assert await structured(session, "add", a=1, b=2) == {"result": 3}
    assert await structured(session, "add", a=0.5, b=2) == {"result": 2.5}


async def test_a_stream_of_samples(session: Session) -> None:
    seen: list[tuple[float, float | None]] = []

    async def watch(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total))

    with anyio.fail_after(30):
        result = await session.call_tool("watch_load", {"samples": 3, "every_seconds": 0}, on_progress=watch)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert result.structured_content is not None
    assert len(result.structured_content["samples"]) == 3


async def test_a_structured_result_with_its_schema(session: Session) -> None:
    assert await structured(session, "measure_text", text="moor the\nboat") == {
        "characters": 13,
        "words": 3,
        "lines": 2,
        "longest_word": "moor",
    }
    tool = next(tool for tool in await session.list_tools() if tool.name == "measure_text")
    assert tool.output_schema is not None
    assert set(tool.output_schema["properties"]) == {"characters", "words", "lines", "longest_word"}


async def test_a_question_to_the_user_in_both_eras(session: Session) -> None:
    booking = await structured(session, "book_berth", vessel="Ida", length_metres=10, nights=2)
    assert booking == {"vessel": "Ida", "status": "booked", "berth": "A2", "price": 50.0}
    booking = await structured(session, "book_berth", vessel="Titanic", length_metres=269, nights=1)
    assert booking == {"vessel": "Titanic", "status": "no berth is long enough", "berth": None, "price": 0.0}


async def test_a_resource_and_a_prompt(session: Session) -> None:
    with anyio.fail_after(30):
        berths = (await session.sdk.read_resource("harbour://berths")).contents[0]
        notice = (await session.sdk.get_prompt("arrival_notice", {"vessel": "Ida"})).messages[0].content
    assert isinstance(berths, types.TextResourceContents)
    assert json.loads(berths.text) == {"A1": 8.0, "A2": 12.0, "B1": 18.0, "B2": 30.0}
    assert isinstance(notice, types.TextContent)
    assert "the vessel Ida arrives tonight" in notice.text


def test_the_printed_curl_line_shows_each_event_as_it_is_produced(started: tuple[str, str]) -> None:
    assert shutil.which("curl"), "this test types what the quickstart prints, which takes curl"
    match = re.search(r"^curl -N.*?\}\}\}\}'$", started[1], re.DOTALL | re.MULTILINE)
    assert match, started[1]
    curl = subprocess.Popen(["bash", "-c", match[0]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    try:
        assert curl.stdout is not None
        first = b""
        while not first.startswith(b"data:"):
            first = curl.stdout.readline()
            assert first, "curl ended before the first event"
        os.set_blocking(curl.stdout.fileno(), False)
        at_hand = curl.stdout.read() or b""
        assert b'"result"' not in at_hand, "the first event came together with the result: something held it back"
        os.set_blocking(curl.stdout.fileno(), True)
        rest = at_hand + curl.communicate(timeout=30)[0]
    finally:
        curl.kill()
        curl.wait()
    events = [json.loads(line.removeprefix(b"data:")) for line in (first + rest).splitlines() if line.startswith(b"data:")]
    assert [event["params"]["progress"] for event in events[:-1]] == [1, 2, 3, 4, 5]
    assert len(events[-1]["result"]["structuredContent"]["samples"]) == 5


def test_the_printed_python_client_works_and_has_five_lines(started: tuple[str, str]) -> None:
    match = re.search(r"<<'PYTHON'\n(.*?)\nPYTHON$", started[1], re.DOTALL | re.MULTILINE)
    assert match, started[1]
    assert len(match[1].splitlines()) == 5
    done = subprocess.run([sys.executable, "-"], input=match[1], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("{'result': 3}\n", "", 0)


@pytest.mark.parametrize("port", ["0", "65536", "http", "8000 ", "-1"])
def test_what_is_no_port_is_refused_with_the_way_out(port: str) -> None:
    done = subprocess.run([str(RUN), port], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith(f"run: '{port}' is not a port: give a number from 1 to 65535")


def test_without_the_environment_the_script_names_the_task_that_makes_it() -> None:
    done = subprocess.run([str(RUN)], capture_output=True, text=True, timeout=30, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 2
    assert "make run" in done.stderr

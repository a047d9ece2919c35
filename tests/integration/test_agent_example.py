"""examples/agent: the whole graph over HTTP, with a scripted model and the real search server behind a bearer key."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.errors import GraphRecursionError

from examples.agent.__main__ import ask, ask_all
from examples.agent.models import ModelError, chat_model
from examples.agent.scripted import SEARCH_THEN_REPORT, ScriptedModel, Turn
from examples.agent.terminal import Steps
from moorage.client import UnauthorizedError
from moorage.security.api_keys import generate
from tests.integration.example_servers import ROOT, clean_environ, free_ports, served
from tests.integration.tavily import KEY, Tavily, tavily_api

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def tavily_server() -> Iterator[Tavily]:
    with tavily_api() as tavily:
        yield tavily


@pytest.fixture(scope="module")
def search(tavily_server: Tavily, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The search server behind a key: its URL and the key."""
    token, line = generate("agent")
    keys = tmp_path_factory.mktemp("secret") / "keys"
    keys.write_text(f"{line}\n")
    environ = {"TAVILY_API_KEY": KEY, "TAVILY_BASE_URL": tavily_server.url, "MOORAGE_SECURITY__API_KEYS_FILE": str(keys)}
    with served("examples/search/server.py", environ) as url:
        yield url, token


@pytest.fixture
def tavily(tavily_server: Tavily) -> Tavily:
    tavily_server.reset()
    return tavily_server


def playing(*turns: Turn) -> ScriptedModel:
    return ScriptedModel(turns=turns)


def call(name: str, number: int = 1, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": f"call-{number}"}


async def test_an_agent_searches_and_answers_from_what_it_found(search: tuple[str, str], tavily: Tavily) -> None:
    url, token = search
    written: list[str] = []
    with anyio.fail_after(60):
        answer = await ask("tides", url=url, token=token, model=chat_model("scripted"), steps=Steps(written.append))
    assert answer.splitlines()[0] == "I found 7 pages:"
    assert "- tides overview 0 <https://tides-overview.example/0>" in answer.splitlines()
    assert {each["query"] for each in tavily.searches} == {"tides", "tides overview", "tides latest"}
    lines = "".join(written).splitlines()
    assert lines[0] == "I search the web for it."
    assert lines[1] == '-> web_search {"query": "tides", "facets": ["overview", "latest"]}'
    assert sorted(lines[2:9])[0].startswith("  . web_search: everywhere ")
    assert lines[9].startswith("<- web_search success: ")
    assert "\n".join(lines[10:]) == answer


async def test_steps_are_shown_while_the_tool_still_runs(search: tuple[str, str], tavily: Tavily) -> None:
    """The last search is answered only after the first pages were on the terminal."""
    url, token = search
    held = tavily.hold["tides latest"] = threading.Event()
    written: list[str] = []

    def write(text: str) -> None:
        written.append(text)
        if sum("web_search: " in each for each in written) == 3:
            held.set()

    with anyio.fail_after(60):
        await ask("tides", url=url, token=token, model=chat_model("scripted"), steps=Steps(write))
    assert held.is_set()


async def test_tokens_are_written_one_by_one(search: tuple[str, str], tavily: Tavily) -> None:
    url, token = search
    written: list[str] = []
    model = playing(lambda _: AIMessage("one two three"))
    with anyio.fail_after(60):
        assert await ask("count", url=url, token=token, model=model, steps=Steps(written.append)) == "one two three"
    assert [text for text in written if text] == ["one ", "two ", "three", "\n"]


async def test_two_tools_of_one_turn_run_at_the_same_time(search: tuple[str, str], tavily: Tavily) -> None:
    """Each search is answered only when both have arrived."""
    url, token = search
    tavily.gather("ebb", "flow")

    def both(_: Sequence[BaseMessage]) -> AIMessage:
        return AIMessage("", tool_calls=[call("web_search", 1, query="ebb"), call("web_search", 2, query="flow")])

    def count(messages: Sequence[BaseMessage]) -> AIMessage:
        return AIMessage(f"{sum(isinstance(message, ToolMessage) for message in messages)} results")

    with anyio.fail_after(60):
        assert await ask("ebb and flow", url=url, token=token, model=playing(both, count), steps=Steps(lambda _: None)) == "2 results"


async def test_a_failed_tool_is_told_to_the_model_and_shown(search: tuple[str, str], tavily: Tavily) -> None:
    url, token = search
    tavily.statuses.update({"tides": 432, "tides overview": 432, "tides latest": 432})
    written: list[str] = []
    with anyio.fail_after(60):
        answer = await ask("tides", url=url, token=token, model=chat_model("scripted"), steps=Steps(written.append))
    assert answer.startswith("The search brought nothing: ")
    assert "the quota of this Tavily plan is used up" in answer
    assert any(text.startswith("<- web_search error: ") for text in written)


async def test_an_agent_that_never_answers_is_stopped(search: tuple[str, str], tavily: Tavily) -> None:
    url, token = search

    def again(_: Sequence[BaseMessage]) -> AIMessage:
        return AIMessage("", tool_calls=[call("web_search", query="tides")])

    with anyio.fail_after(60), pytest.raises(GraphRecursionError):
        await ask("tides", url=url, token=token, model=playing(*[again] * 30), steps=Steps(lambda _: None))


async def test_a_wrong_key_is_refused(search: tuple[str, str]) -> None:
    with anyio.fail_after(60), pytest.raises(UnauthorizedError):
        await ask("tides", url=search[0], token="moor_not-the-key-of-anyone", model=chat_model("scripted"), steps=Steps(lambda _: None))


async def test_several_agents_work_at_the_same_time_and_each_line_says_whose_it_is(search: tuple[str, str], tavily: Tavily) -> None:
    """Every agent's first search is answered only when all three have arrived."""
    url, token = search
    questions = ["ebb", "flow", "slack"]
    tavily.gather(*questions)
    written: list[str] = []
    with anyio.fail_after(60):
        answers = await ask_all(questions, url=url, token=token, model=chat_model("scripted"), parallel=3, write=written.append)
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True), 1):
        own = [line for line in written if line.startswith(f"[{number}] ")]
        assert own[0] == f"[{number}] ? {question}\n"
        assert f"[{number}] I found 7 pages:\n" in own
        assert answer is not None
        assert f"- {question} 0 <https://{question}.example/0>" in answer
    assert all(line.startswith("[") and line.endswith("\n") for line in written)


async def test_one_agent_that_fails_does_not_stop_the_others(
    search: tuple[str, str], tavily: Tavily, capsys: pytest.CaptureFixture[str]
) -> None:
    url, token = search

    def maybe(messages: Sequence[BaseMessage]) -> AIMessage:
        if messages[-1].text == "flow":
            raise RuntimeError("the provider is down")
        return AIMessage("fine")

    with anyio.fail_after(60):
        answers = await ask_all(["ebb", "flow"], url=url, token=token, model=playing(maybe), parallel=2, write=lambda _: None)
    assert answers == ["fine", None]
    assert capsys.readouterr().err == "agent: error: [2] RuntimeError: the provider is down\n"


def agent(*arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
    environ = {**clean_environ(), "PYTHONWARNINGS": "error"} | ({} if token is None else {"MOORAGE_TOKEN": token})
    return subprocess.run(
        [sys.executable, "-m", "examples.agent", *arguments], capture_output=True, text=True, timeout=90, cwd=ROOT, env=environ
    )


def test_the_command_answers_on_the_terminal(search: tuple[str, str], tavily: Tavily, tmp_path: Path) -> None:
    url, token = search
    key = tmp_path / "key"
    key.write_text(f"{token}\n")
    done = agent("--url", url, "--model", "scripted", "--token-file", str(key), "tides")
    assert (done.returncode, done.stderr) == (0, "")
    assert "I found 7 pages:" in done.stdout.splitlines()


def test_the_command_says_that_a_key_is_missing(search: tuple[str, str]) -> None:
    done = agent("--url", search[0], "--model", "scripted", "tides")
    assert done.returncode == 1
    assert "refused the key (HTTP 401)" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_says_that_the_server_is_not_there() -> None:
    done = agent("--url", f"http://127.0.0.1:{free_ports(1)[0]}/mcp", "--model", "scripted", "tides")
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [("gpt", "use 'scripted' or provider:model"), ("openai:", "names no model"), ("nowhere:best", "needs the package langchain")],
)
def test_a_model_that_cannot_be_had_says_what_to_do(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        chat_model(name)
    done = agent("--model", name, "tides")
    assert (done.returncode, words in done.stderr) == (2, True)


def test_what_a_provider_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def init_chat_model(name: str) -> None:
        raise RuntimeError("no credentials: set PROVIDER_API_KEY\nand much more text")

    langchain: Any = ModuleType("langchain.chat_models")
    langchain.init_chat_model = init_chat_model
    monkeypatch.setitem(sys.modules, "langchain", ModuleType("langchain"))
    monkeypatch.setitem(sys.modules, "langchain.chat_models", langchain)
    with pytest.raises(ModelError) as caught:
        chat_model("provider:best")
    assert str(caught.value) == "provider:best cannot be used: no credentials: set PROVIDER_API_KEY"


async def test_a_script_that_calls_a_tool_the_server_lacks_is_an_error_that_lists_what_there_is(search: tuple[str, str]) -> None:
    url, token = search
    model = playing(lambda _: AIMessage("", tool_calls=[call("fly")]))
    with anyio.fail_after(60), pytest.raises(ValueError, match="the script calls fly, and the server's tools are: web_search"):
        await ask("up", url=url, token=token, model=model, steps=Steps(lambda _: None))


async def test_a_script_that_is_over_says_so(search: tuple[str, str], tavily: Tavily) -> None:
    url, token = search
    with anyio.fail_after(60), pytest.raises(ValueError, match="the script has 1 turns"):
        await ask("tides", url=url, token=token, model=playing(SEARCH_THEN_REPORT[0]), steps=Steps(lambda _: None))

"""`moorage.client.langchain` with real LangChain and LangGraph, over HTTP, in both protocol eras."""

import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from moorage.client import connect
from moorage.client.langchain import load_tools
from tests.unit.client.conftest import Serve
from tests.unit.client.harbour import app

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ["auto", "legacy"])]


@pytest.fixture
def open_tools(serve: Serve, mode: str) -> Any:
    @asynccontextmanager
    async def opened(**options: Any) -> AsyncGenerator[dict[str, BaseTool]]:
        with anyio.fail_after(20):
            async with connect(serve(app()), mode=mode) as session:
                yield {tool.name: tool for tool in await load_tools(session, **options)}

    return opened


def call(name: str, **args: Any) -> ToolCall:
    return ToolCall(name=name, args=args, id="call-1", type="tool_call")


async def test_each_tool_carries_its_name_description_and_schema(open_tools: Any) -> None:
    async with open_tools() as tools:
        function = convert_to_openai_tool(tools["add"])["function"]
        assert (function["name"], function["description"]) == ("add", "Add two numbers.")
        assert function["parameters"]["required"] == ["a", "b"]
        assert list(tools["add"].args) == ["a", "b"]
        assert tools["wait_for_wind"].args == {}


async def test_a_result_is_content_for_the_model_and_structure_for_the_program(open_tools: Any) -> None:
    async with open_tools() as tools:
        message = await tools["sound"].ainvoke(call("sound", place="pier"))
        assert isinstance(message, ToolMessage)
        assert (message.status, message.tool_call_id) == ("success", "call-1")
        assert '"metres": 4.5' in str(message.content)
        assert message.artifact == {"structured_content": {"metres": 4.5, "place": "pier"}}


async def test_every_kind_of_content_reaches_the_message(open_tools: Any) -> None:
    async with open_tools() as tools:
        message = await tools["chart"].ainvoke(call("chart"))
        assert message.content == [
            {"type": "text", "text": "legend"},
            {"type": "image", "base64": "aW1n", "mime_type": "image/png"},
            {"type": "file", "base64": "YXVk", "mime_type": "audio/wav"},
            {"type": "file", "url": "https://charts.example/1", "mime_type": "application/pdf"},
            {"type": "text", "text": "shoal"},
            {"type": "file", "base64": "YmxvYg==", "mime_type": "application/pdf"},
        ]


async def test_a_failed_tool_raises_what_the_server_said(open_tools: Any) -> None:
    async with open_tools() as tools:
        with pytest.raises(ToolException, match="the keel hit the ground"):
            await tools["run_aground"].ainvoke({})


async def test_a_failure_can_be_handed_to_the_model_instead(open_tools: Any) -> None:
    async with open_tools(handle_tool_error=True) as tools:
        message = await tools["run_aground"].ainvoke(call("run_aground"))
        assert message.status == "error"
        assert "the keel hit the ground" in message.content


async def test_bad_arguments_are_a_tool_error_that_names_them(open_tools: Any) -> None:
    async with open_tools() as tools:
        with pytest.raises(ToolException, match=r"b\n.*Field required"):
            await tools["add"].ainvoke({"a": 1})


async def test_a_call_past_its_deadline_is_a_tool_error(open_tools: Any) -> None:
    async with open_tools(timeout_seconds=0.2) as tools:
        with pytest.raises(ToolException, match=r"wait_for_wind: .* did not answer within 0\.2 s"):
            await tools["wait_for_wind"].ainvoke({})


async def test_arguments_may_have_any_name(open_tools: Any) -> None:
    async with open_tools() as tools:
        arguments = {"config": "sloop", "run_manager": "skipper", "self": "me", "cls": "first"}
        assert await tools["rig"].ainvoke(arguments) == "sloop skipper me first"


async def test_a_blocking_call_is_refused_with_the_way_out(open_tools: Any) -> None:
    async with open_tools() as tools:
        with pytest.raises(NotImplementedError, match="use ainvoke"):
            tools["add"].invoke({"a": 1, "b": 2})


async def test_progress_reaches_langchain_callbacks(open_tools: Any) -> None:
    class Listener(AsyncCallbackHandler):
        def __init__(self) -> None:
            self.events: list[tuple[str, Any]] = []

        async def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
            self.events.append((name, data["message"]))

    listener = Listener()
    async with open_tools() as tools:
        await tools["sound"].ainvoke({"place": "pier"}, {"callbacks": [listener]})
        assert listener.events == [("mcp.progress", f"sounding {step}") for step in (1, 2, 3)]


async def test_progress_reaches_the_custom_stream_of_a_graph(open_tools: Any) -> None:
    async with open_tools() as tools:
        events = await _run_in_graph(list(tools.values()), call("sound", place="pier"))
        custom = [chunk for mode, chunk in events if mode == "custom"]
        assert [event["message"] for event in custom] == ["sounding 1", "sounding 2", "sounding 3"]
        assert custom[0] == {"event": "mcp.progress", "tool": "sound", "progress": 1.0, "total": 3.0, "message": "sounding 1"}
        assert [mode for mode, _ in events] == ["custom", "custom", "custom", "updates"]


async def _run_in_graph(tools: Sequence[BaseTool], tool_call: ToolCall) -> list[tuple[str, Any]]:
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    turn: Any = {"messages": [AIMessage(content="", tool_calls=[tool_call])]}
    compiled: Any = graph.compile()
    return [event async for event in compiled.astream(turn, stream_mode=["custom", "updates"])]


def test_a_missing_langchain_names_the_extra(mode: str) -> None:
    program = "import sys; sys.modules['langchain_core.callbacks'] = None; import moorage.client; import moorage.client.langchain"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "install 'moorage[langchain]'" in done.stderr.splitlines()[-1]


def test_the_client_itself_needs_neither_langchain_nor_the_service(mode: str) -> None:
    program = (
        "import sys, moorage.client;"
        "print([name for name in sys.modules if name.startswith(('langchain', 'langgraph', 'moorage.')) and 'client' not in name])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"

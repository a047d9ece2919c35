"""What is relied on of the SDK's private parts is looked for at the start, and its absence costs speed alone."""

import json
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer

from moorage.app import create_app
from moorage.protocol import sdk
from moorage.settings import Settings
from tests.comparison.wire import lifespan
from tests.unit.edge.conftest import Harbour

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def server() -> MCPServer[Any]:
    made = MCPServer("parts")

    @made.tool()
    async def quick() -> str:
        return "done"

    return made


def test_this_release_of_the_sdk_has_every_part() -> None:
    assert sdk.missing_parts(server()) == []


@pytest.mark.parametrize("gone", [False, True])
async def test_a_part_that_is_gone_takes_calls_to_the_kernel_and_answers_the_same(monkeypatch: pytest.MonkeyPatch, gone: bool) -> None:
    if gone:
        monkeypatch.setattr(sdk, "PRIVATE_PARTS", {MCPServer: ("_of_an_older_release",)})
        monkeypatch.delattr(sdk, "registered_tool")
    kernel: list[str] = []
    serve_one = __import__("moorage.protocol.modern", fromlist=["serve_one"]).serve_one

    async def counted(*arguments: Any, **options: Any) -> Any:
        kernel.append(arguments[2])
        return await serve_one(*arguments, **options)

    monkeypatch.setattr("moorage.protocol.modern.serve_one", counted)
    app = create_app(Settings.model_validate({"admin": {"port": 0}, "logs": {"level": "error"}}), server())
    async with lifespan(app):
        call = Harbour(app).modern("quick")
        await call.finished()
    assert json.loads(call.body)["result"]["content"] == [{"type": "text", "text": "done"}]
    assert kernel == (["tools/call"] if gone else [])

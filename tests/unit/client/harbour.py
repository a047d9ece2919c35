"""An MCP server with one tool for each way in which a call can end."""

from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel

TOKEN = "moor_test-key-of-the-client-tests"


class Depth(BaseModel):
    metres: float
    place: str


class Yes(BaseModel):
    accept: bool


async def ask() -> Elicit[Yes]:
    return Elicit("Cast off?", Yes)


def harbour() -> MCPServer:
    mcp = MCPServer("harbour")

    @mcp.tool()
    async def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @mcp.tool()
    async def sound(place: str, ctx: Context) -> Depth:
        """Measure the depth, in three soundings."""
        for step in range(1, 4):
            await ctx.report_progress(step, 3, f"sounding {step}")
        return Depth(metres=4.5, place=place)

    @mcp.tool()
    async def cast_off(answer: Annotated[Yes, Resolve(ask)]) -> str:
        """Leave, if the user says so."""
        return "under way" if answer.accept else "still moored"

    @mcp.tool()
    async def run_aground() -> str:
        """Always fails."""
        raise ToolError("the keel hit the ground")

    @mcp.tool()
    async def wait_for_wind() -> str:
        """Never returns."""
        await anyio.sleep_forever()
        return "unreachable"

    @mcp.tool()
    async def rig(config: str, run_manager: str, self: str = "s", cls: str = "c") -> str:
        """Arguments whose names mean something to Python and to LangChain."""
        return f"{config} {run_manager} {self} {cls}"

    @mcp.tool()
    async def sign_the_log(ctx: Context) -> str:
        """Ask for a signature in a browser; only the revisions with a handshake know this call."""
        return (await ctx.elicit_url("Sign, please", "https://log.example/sign", "log-1")).action

    @mcp.tool()
    async def insist() -> str | InputRequiredResult:
        """Ask again and again."""
        question = ElicitRequest(params=ElicitRequestFormParams(message="Sure?", requested_schema=Yes.model_json_schema()))
        return InputRequiredResult(input_requests={"sure": question}, request_state="again")

    @mcp.tool()
    async def chart() -> list[Any]:
        """One block of every kind."""
        return [
            TextContent(type="text", text="legend"),
            ImageContent(type="image", data="aW1n", mime_type="image/png"),
            AudioContent(type="audio", data="YXVk", mime_type="audio/wav"),
            ResourceLink(type="resource_link", uri="https://charts.example/1", name="one", mime_type="application/pdf"),
            EmbeddedResource(type="resource", resource=TextResourceContents(uri="note://1", text="shoal")),
            EmbeddedResource(type="resource", resource=BlobResourceContents(uri="blob://1", blob="YmxvYg==", mime_type="application/pdf")),
        ]

    return mcp


def app(*, token: str | None = None) -> Any:
    """The harbour over HTTP; with a token, only for those who carry it."""
    inner = harbour().streamable_http_app()
    if token is None:
        return inner

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and dict(scope["headers"]).get(b"authorization") != f"Bearer {token}".encode():
            body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"a key is needed"}}'
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": body})
            return
        await inner(scope, receive, send)

    return guarded

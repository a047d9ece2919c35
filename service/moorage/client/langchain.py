"""The tools of an MCP server as LangChain tools, for LangGraph agents and everything else that takes a `BaseTool`.

`load_tools` turns each tool of an open session into one `BaseTool`: the server's JSON schema is the argument schema,
content becomes message content, the structured result the message's artifact, and a failure a `ToolException`.
Progress reaches LangGraph's custom stream and LangChain's callbacks as it arrives. The tools are asynchronous and
live as long as their session.
"""

from collections.abc import Callable
from typing import Any, TypedDict

import mcp_types as types

from moorage.client.errors import ClientError
from moorage.client.session import Session

try:
    from langchain_core.callbacks import adispatch_custom_event
    from langchain_core.runnables.config import ensure_config
    from langchain_core.tools import BaseTool, ToolException
except ImportError as error:
    raise ImportError("moorage.client.langchain needs LangChain, which is an extra: install 'moorage[langchain]'") from error

PROGRESS_EVENT = "mcp.progress"
"""Name of the custom event that carries a `ProgressEvent`."""


class ProgressEvent(TypedDict):
    """What a running tool reported; written to LangGraph's custom stream and dispatched to callbacks."""

    event: str
    tool: str
    progress: float
    total: float | None
    message: str | None


class ToolArtifact(TypedDict):
    """What a tool message carries for programs: the result as the tool's output schema describes it."""

    structured_content: dict[str, Any] | None


class McpTool(BaseTool):
    """One tool of an MCP server."""

    session: Session
    timeout_seconds: float | None = None

    def _run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Refuse: the session belongs to an event loop, which a blocking call would stop."""
        raise NotImplementedError(f"{self.name} runs on a server and is asynchronous: use ainvoke() instead of invoke()")

    async def _arun(self, /, *_args: Any, **kwargs: Any) -> tuple[str | list[dict[str, Any]], ToolArtifact]:
        """Call the tool. `self` is positional-only and no name is reserved: a server may call its arguments anything."""
        write, config = _stream_writer(), ensure_config()

        async def report(progress: float, total: float | None, message: str | None) -> None:
            event = ProgressEvent(event=PROGRESS_EVENT, tool=self.name, progress=progress, total=total, message=message)
            if write is not None:
                write(event)
            await adispatch_custom_event(PROGRESS_EVENT, event, config=config)

        try:
            result = await self.session.call_tool(self.name, kwargs, timeout_seconds=self.timeout_seconds, on_progress=report)
        except ClientError as failure:
            raise ToolException(f"{self.name}: {failure.message}") from failure
        if result.is_error:
            raise ToolException(_text(result.content) or f"{self.name} failed without saying why")
        return _content(result.content), ToolArtifact(structured_content=result.structured_content)


async def load_tools(session: Session, *, timeout_seconds: float | None = None, handle_tool_error: bool = False) -> list[BaseTool]:
    """Every tool of the server as a LangChain tool.

    Args:
        session: An open session; the tools stop working when it closes.
        timeout_seconds: Deadline of each call; the session's when None.
        handle_tool_error: True hands a failure to the model as a tool message with status "error", which is what an
            agent wants; False raises `ToolException`.

    Raises:
        ClientError: The list of tools could not be fetched.
    """
    return [
        McpTool(
            name=tool.name,
            description=tool.description or tool.title or "",
            args_schema={"properties": {}, **tool.input_schema},
            response_format="content_and_artifact",
            handle_tool_error=handle_tool_error,
            metadata=None if tool.annotations is None else tool.annotations.model_dump(exclude_none=True),
            session=session,
            timeout_seconds=timeout_seconds,
        )
        for tool in await session.list_tools()
    ]


def _stream_writer() -> Callable[[Any], None] | None:
    """LangGraph's custom stream, when the tool runs inside a graph."""
    try:
        from langgraph.config import get_stream_writer

        return get_stream_writer()
    except (ImportError, RuntimeError, KeyError):
        return None


def _content(blocks: list[types.ContentBlock]) -> str | list[dict[str, Any]]:
    """Plain text stays a string; anything else becomes LangChain's standard content blocks."""
    if all(isinstance(block, types.TextContent) for block in blocks) and len(blocks) <= 1:
        return _text(blocks)
    return [_block(block) for block in blocks]


def _block(block: types.ContentBlock) -> dict[str, Any]:
    match block:
        case types.TextContent():
            return {"type": "text", "text": block.text}
        case types.ImageContent():
            return {"type": "image", "base64": block.data, "mime_type": block.mime_type}
        case types.AudioContent():  # a tool message takes audio as a file, not as an "audio" block
            return {"type": "file", "base64": block.data, "mime_type": block.mime_type}
        case types.ResourceLink():
            return {"type": "file", "url": block.uri, "mime_type": block.mime_type or "application/octet-stream"}
        case types.EmbeddedResource():
            return _embedded(block.resource)


def _embedded(resource: types.TextResourceContents | types.BlobResourceContents) -> dict[str, Any]:
    if isinstance(resource, types.TextResourceContents):
        return {"type": "text", "text": resource.text}
    return {"type": "file", "base64": resource.blob, "mime_type": resource.mime_type or "application/octet-stream"}


def _text(blocks: list[types.ContentBlock]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, types.TextContent))

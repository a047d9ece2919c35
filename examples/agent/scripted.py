"""A chat model that needs no provider: it plays a script, the same way every time.

`SEARCH_THEN_REPORT` is what `--model scripted` plays. A turn sees the conversation so far and writes the next message,
which then arrives word by word, as a real model's does. The model keeps no state, so that many agents may share it.
"""

# ruff: noqa: ARG002  # the base class decides which parameters there are
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import BaseTool

Turn = Callable[[Sequence[BaseMessage]], AIMessage]


class ScriptedModel(BaseChatModel):
    """Plays `turns` in order; the turn is the number of its messages that the conversation already holds."""

    turns: Sequence[Turn]
    tool_names: frozenset[str] = frozenset()

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> "ScriptedModel":
        names = frozenset(tool.name for tool in tools if isinstance(tool, BaseTool))
        return self.model_copy(update={"tool_names": names})

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._play(messages))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(self._play(messages)):
            yield ChatGenerationChunk(message=chunk)

    def _play(self, messages: Sequence[BaseMessage]) -> AIMessage:
        turn = sum(isinstance(message, AIMessage) for message in messages)
        if turn >= len(self.turns):
            raise ValueError(f"the script has {len(self.turns)} turns and the conversation asks for one more")
        message = self.turns[turn](messages)
        missing = {call["name"] for call in message.tool_calls} - self.tool_names
        if missing:
            offered = ", ".join(sorted(self.tool_names)) or "none"
            raise ValueError(f"the script calls {', '.join(sorted(missing))}, and the server's tools are: {offered}")
        return message


def _chunks(message: AIMessage) -> Iterator[AIMessageChunk]:
    for word in re.findall(r"\s*\S+\s*", str(message.content)):
        yield AIMessageChunk(content=word)
    for index, call in enumerate(message.tool_calls):
        part = tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=index)
        yield AIMessageChunk(content="", tool_call_chunks=[part])
    yield AIMessageChunk(content="", chunk_position="last")


def _search(messages: Sequence[BaseMessage]) -> AIMessage:
    question = next(message for message in reversed(messages) if isinstance(message, HumanMessage))
    call = {"name": "web_search", "args": {"query": str(question.content)[:400], "facets": ["overview", "latest"]}, "id": "search-1"}
    return AIMessage("I search the web for it.", tool_calls=[call])


def _report(messages: Sequence[BaseMessage]) -> AIMessage:
    answer = messages[-1]
    if not isinstance(answer, ToolMessage) or answer.status == "error":
        return AIMessage(f"The search brought nothing: {answer.content}")
    pages = answer.artifact["structured_content"]["results"]
    return AIMessage("\n".join([f"I found {len(pages)} pages:", *(f"- {page['title']} <{page['url']}>" for page in pages)]))


SEARCH_THEN_REPORT: Sequence[Turn] = (_search, _report)
"""Search the web for the question, then list what was found."""

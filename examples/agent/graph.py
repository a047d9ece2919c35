"""The ReAct loop: the model thinks and asks for tools, the tools run at the same time, until it answers."""

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage
from langchain_core.tools import BaseTool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode, tools_condition

INSTRUCTIONS = SystemMessage(
    "Answer the question with the help of your tools. Name the pages that an answer rests on. If a tool fails, say so or try another way."
)


def react(model: BaseChatModel, tools: Sequence[BaseTool]) -> CompiledStateGraph[Any]:
    """The graph for one model and its tools."""
    thinking = model.bind_tools(tools)

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await thinking.ainvoke([INSTRUCTIONS, *state["messages"]])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", think)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()

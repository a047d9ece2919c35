"""Ask questions to agents that use the tools of an MCP server.

Each question gets an agent with a session of its own; `--parallel N` lets N of them work at the same time.
"""

import argparse
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
from langchain_core.language_models import BaseChatModel
from langgraph.errors import GraphRecursionError

from examples.agent.graph import react
from examples.agent.models import ModelError, chat_model
from examples.agent.terminal import Steps, Write
from moorage.client import ClientError, connect
from moorage.client.langchain import load_tools

MAX_STEPS = 25


async def ask(question: str, *, url: str, token: str | None, model: BaseChatModel, steps: Steps) -> str:
    """Let one agent answer one question over a session of its own; its steps are shown as they happen.

    Raises:
        ClientError: The server cannot be used.
        GraphRecursionError: The agent did not come to an answer within MAX_STEPS steps.
    """
    async with connect(url, token=token) as session:
        graph = react(model, await load_tools(session, handle_tool_error=True))
        answer = ""
        stream: AsyncIterator[Any] = graph.astream(
            {"messages": [("user", question)]}, {"recursion_limit": MAX_STEPS}, stream_mode=["messages", "updates", "custom"]
        )
        async for mode, event in stream:
            steps.show(mode, event)
            if mode == "updates" and "model" in event:
                answer = event["model"]["messages"][-1].text
        return answer


async def ask_all(
    questions: list[str], *, url: str, token: str | None, model: BaseChatModel, parallel: int, write: Write
) -> list[str | None]:
    """Answer every question, `parallel` at a time; one that fails is None and does not stop the others."""
    answers: list[str | None] = [None] * len(questions)
    limit = anyio.CapacityLimiter(parallel)

    async def one(number: int, question: str) -> None:
        label = f"[{number + 1}] " if parallel > 1 else ""
        async with limit:
            write(f"{label}? {question}\n")
            try:
                answers[number] = await ask(question, url=url, token=token, model=model, steps=Steps(write, label))
            except (ClientError, GraphRecursionError) as error:
                print(f"agent: error: {label}{error}", file=sys.stderr)
            except Exception as error:  # boundary: the other agents, whatever this one's provider raises
                print(f"agent: error: {label}{type(error).__name__}: {error}", file=sys.stderr)

    async with anyio.create_task_group() as agents:
        for number, question in enumerate(questions):
            agents.start_soon(one, number, question)
    return answers


def write_now(text: str) -> None:
    """Write to the terminal at once: a token is shown when it comes, not when the line is full."""
    print(text, end="", flush=True)


def bearer_key(token_file: Path | None) -> str | None:
    """The key for the server; never an argument, since arguments are seen by every user of the machine."""
    if token_file is None:
        return os.environ.get("MOORAGE_TOKEN")
    return token_file.read_text(encoding="utf-8").strip()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.agent", description="Ask questions to agents that use the tools of an MCP server."
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000/mcp", help="the server's endpoint (%(default)s)")
    parser.add_argument("--model", required=True, help="provider:model, or 'scripted' to try it without a provider")
    parser.add_argument("--token-file", type=Path, help="file that holds the bearer key; the variable MOORAGE_TOKEN otherwise")
    parser.add_argument(
        "--parallel", type=int, choices=range(1, 65), default=1, metavar="N", help="agents that work at the same time, 1 to 64"
    )
    parser.add_argument("questions", nargs="+", metavar="QUESTION")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    try:
        model, token = chat_model(given.model), bearer_key(given.token_file)
    except (ModelError, OSError) as error:
        print(f"agent: error: {error}", file=sys.stderr)
        return 2
    answers = anyio.run(lambda: ask_all(given.questions, url=given.url, token=token, model=model, parallel=given.parallel, write=write_now))
    return 1 if None in answers else 0


if __name__ == "__main__":
    sys.exit(main())

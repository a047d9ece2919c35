"""What an agent does, written to the terminal as it happens."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage

Write = Callable[[str], None]

_SHORT = 200


@dataclass
class Steps:
    """Writes one agent's steps. With a label each line is written whole, so that agents in parallel stay readable."""

    write: Write
    label: str = ""
    _open: str = ""

    def show(self, mode: str, event: Any) -> None:
        """Show one event of the graph's stream: a token, a progress report, or the messages of a finished step."""
        match mode, event:
            case "messages", (AIMessageChunk() as chunk, _):
                self._token(chunk.text)
            case "custom", {"event": "mcp.progress", "tool": tool, "message": message}:
                self._line(f"  . {tool}: {message or event['progress']}")
            case "updates", {"model": {"messages": messages}}:
                self._end_of_text()
                for message in messages:
                    self._calls(message)
            case "updates", {"tools": {"messages": messages}}:
                for message in messages:
                    self._result(message)

    def _token(self, text: str) -> None:
        if not self.label:
            self.write(text)
            self._open = (text or self._open)[-1:]
            return
        *lines, self._open = (self._open + text).split("\n")
        for line in lines:
            self.write(f"{self.label}{line}\n")

    def _end_of_text(self) -> None:
        if self.label and self._open:
            self.write(f"{self.label}{self._open}\n")
        elif self._open not in ("", "\n"):
            self.write("\n")
        self._open = ""

    def _line(self, text: str) -> None:
        self.write(f"{self.label}{text}\n")

    def _calls(self, message: AIMessage) -> None:
        for call in message.tool_calls:
            self._line(f"-> {call['name']} {_shortened(json.dumps(call['args'], ensure_ascii=False))}")

    def _result(self, message: ToolMessage) -> None:
        outcome = _shortened(message.text) if message.status == "error" else f"{len(message.text)} characters"
        self._line(f"<- {message.name} {message.status}: {outcome}")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else f"{line[:_SHORT]}..."

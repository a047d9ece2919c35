"""What a tool that failed is answered with, in words of our own.

pydantic's text of rejected arguments quotes the values that it rejects, keys of the caller's own, and a link to its documentation. The
caller, most often a model, needs the argument and what was expected of it. Promises that of the arguments nothing is repeated but the names
that the tool's schema has; that the text is bounded; and that whatever a tool raises is its tool error, `SystemExit` and its like too. The
words of a tool's own validators (`ValueError`) are the team's, as those of `ToolError` are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from pydantic import ValidationError

from moorage.lifecycle.supervised import is_end_of_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcp.server.mcpserver.tools import Tool
    from pydantic_core import ErrorDetails

_MOST_LISTED: Final = 20
"""Rejected values that are told: a model mends the first ones and tries again."""

_MOST_READ: Final = 1000
"""Rejected values of which any is told: pydantic gives all or none, and 50,000 (`http.max_json_values`) hold up the loop for 50 ms."""

_MOST_CHARACTERS: Final = 500
"""Of what is said of one value; a list of what is allowed may be long."""


class RejectedArgumentsError(ToolError):
    """The arguments do not fit the tool's schema; the tool has not run.

    Attributes:
        fields: The arguments that were rejected, by the names that the schema has.
    """

    def __init__(self, text: str, fields: Sequence[str]) -> None:
        super().__init__(text)
        self.fields = fields


def as_tool_error(tool: Tool, error: BaseException) -> Exception:
    """What a tool's caller is told of what it raised. To be asked in the frame that has caught the error.

    Args:
        tool: The tool that was called.
        error: What `Tool.run` raised.

    Raises:
        BaseException: The same one, where it ends the task.
    """
    if isinstance(error, Exception):
        # Only of arguments: what the tool itself raises has a ToolError or nothing of pydantic's for its direct cause.
        rejected = error.__cause__ if type(error) is ToolError else None
        return _rejected(tool, rejected) if isinstance(rejected, ValidationError) else error
    if is_end_of_task(error):
        raise error
    unexpected = UnexpectedToolError(f"Error executing tool {tool.name}")
    unexpected.__cause__ = error
    return unexpected


def _rejected(tool: Tool, rejected: ValidationError) -> RejectedArgumentsError:
    count = rejected.error_count()
    listed = count <= _MOST_READ
    problems = rejected.errors(include_url=False, include_input=False) if listed else []
    names = _names(tool.parameters) if problems else set[str]()
    lines = [_line(problem, names) for problem in problems[:_MOST_LISTED]]
    if count > len(lines):
        lines.append(f"and {count - len(lines)} more" if lines else f"{count} values are wrong")
    fields = sorted({_path(problem["loc"][:1], names) for problem in problems if problem["loc"]})
    known = RejectedArgumentsError(f"Error executing tool {tool.name}: the arguments were rejected\n" + "\n".join(lines), fields)
    known.__cause__ = rejected if listed else None  # the SDK reads its cause once more for the log
    return known


def _line(problem: ErrorDetails, names: set[str]) -> str:
    where = _path(problem["loc"], names)
    return f"{where + ': ' if where else ''}{_message(problem)} [{problem['type']}]"[:_MOST_CHARACTERS]


def _message(problem: ErrorDetails) -> str:
    """What pydantic says was expected, without what it says of the value: a tag, a character of it, a parser's own error."""
    context: Mapping[str, Any] = problem.get("ctx") or {}
    if problem["type"] == "union_tag_invalid":
        return f"{context['discriminator']} should be one of {context['expected_tags']}"
    quoted = context.get("error", context.get("encoding_error"))  # an exception where the words are the team's own
    message = problem["msg"]
    return message.removesuffix(quoted).rstrip(",: ") if isinstance(quoted, str) and quoted else message


def _path(loc: Iterable[int | str], names: set[str]) -> str:
    """Where the value stands; `*` stands for a key that the schema does not name: it may be the caller's own."""
    return ".".join(str(part) if isinstance(part, int) or part in names else "*" for part in loc)


def _names(schema: Any) -> set[str]:
    """The names of all properties in a schema, however deep."""
    found, left = set[str](), [schema]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            part = cast("dict[str, Any]", part)
            properties = part.get("properties")
            if isinstance(properties, dict):
                found.update(cast("dict[str, Any]", properties))
            left.extend(part.values())
        elif isinstance(part, list):
            left.extend(cast("list[Any]", part))
    return found

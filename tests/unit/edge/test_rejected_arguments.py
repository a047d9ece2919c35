"""Arguments that a tool rejects: its caller hears which and what was expected, in the same words on every way, and nothing is quoted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import anyio.from_thread
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from tests.events import written
from tests.logged import logged
from tests.unit.edge.conftest import Harbour
from tests.unit.edge.test_exits import ask, last, serving

pytestmark = pytest.mark.anyio

CANARY = "c4n4ry"
LIBRARY = ("pydantic", "validation error", "input_value", "input_type", "errors.", "For further information")
WAYS = [("modern", "hot"), ("modern", "kernel"), ("replayed", "hot"), ("legacy", "hot"), ("legacy", "kernel")]


class Flag(Enum):
    RED = "red"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    port: int = 0

    @field_validator("port")
    @classmethod
    def in_range(cls, port: int) -> int:
        if port > 65535:
            raise ValueError("a port is at most 65535")
        return port


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
Text = Annotated[str, Field(pattern="^[0-9]+$", max_length=3)]


def server() -> MCPServer[Any]:
    mcp: MCPServer[Any] = MCPServer("rejecting", version="1")

    @mcp.tool()
    async def hot(
        number: int = 0, by_name: dict[str, int] = {}, pet: Pet | None = None, strict: Strict | None = None,  # noqa: B006
        flag: Flag | None = None, at: datetime | None = None, on: date | None = None, key: UUID | None = None, url: AnyUrl | None = None,
        either: int | list[int] = 0, text: Text = "1", many: list[int] = [],  # noqa: B006
    ) -> str:  # fmt: skip
        return "accepted"

    @mcp.tool()
    async def kernel(
        ctx: Context[Any, Any],
        number: int = 0, by_name: dict[str, int] = {}, pet: Pet | None = None, strict: Strict | None = None,  # noqa: B006
        flag: Flag | None = None, at: datetime | None = None, on: date | None = None, key: UUID | None = None, url: AnyUrl | None = None,
        either: int | list[int] = 0, text: Text = "1", many: list[int] = [],  # noqa: B006
    ) -> str:  # fmt: skip
        return "accepted"

    @mcp.tool()
    async def through(arguments: dict[str, Any]) -> str:
        await mcp.call_tool("hot", arguments)
        return "accepted"

    @mcp.tool()
    async def within() -> str:
        try:
            TypeAdapter(int).validate_python("the tool's own")
        except ValidationError as error:
            raise ToolError("the tool's own words") from error
        return "accepted"

    return mcp


async def rejection(harbour: Harbour, era: str, tool: str, arguments: Mapping[str, Any]) -> str | None:
    """The text of the tool error; None where the tool has run."""
    exchange = await ask(harbour, era, "tools/call", {"name": tool, "arguments": arguments})
    result = last(exchange)["result"]
    return result["content"][0]["text"] if result["isError"] else None


SAID: list[tuple[dict[str, Any], list[str]]] = [
    ({"number": CANARY}, ["number: Input should be a valid integer, unable to parse string as an integer [int_parsing]"]),
    ({"number": {CANARY: CANARY}}, ["number: Input should be a valid integer [int_type]"]),
    (
        {"by_name": {CANARY: CANARY}},
        ["by_name.*: Input should be a valid integer, unable to parse string as an integer [int_parsing]"],
    ),
    ({"pet": {"kind": CANARY}}, ["pet: 'kind' should be one of 'cat', 'dog' [union_tag_invalid]"]),
    ({"pet": {"kind": "cat", CANARY: 1}}, ["pet.*.lives: Field required [missing]"]),
    ({"strict": {CANARY: CANARY}}, ["strict.*: Extra inputs are not permitted [extra_forbidden]"]),
    ({"strict": {"port": 70000}}, ["strict.port: Value error, a port is at most 65535 [value_error]"]),
    ({"flag": CANARY}, ["flag: Input should be 'red' [enum]"]),
    ({"key": CANARY}, ["key: Input should be a valid UUID [uuid_parsing]"]),
    ({"on": CANARY}, ["on: Input should be a valid date or datetime [date_from_datetime_parsing]"]),
    ({"text": CANARY}, ["text: String should have at most 3 characters [string_too_long]"]),
    ({"many": [1, CANARY]}, ["many.1: Input should be a valid integer, unable to parse string as an integer [int_parsing]"]),
    (
        {"number": CANARY, "flag": CANARY},
        [
            "number: Input should be a valid integer, unable to parse string as an integer [int_parsing]",
            "flag: Input should be 'red' [enum]",
        ],
    ),
]


@pytest.mark.parametrize(("era", "tool"), WAYS)
async def test_a_caller_hears_which_argument_and_what_was_expected(era: str, tool: str) -> None:
    async with serving(server=server()) as harbour:
        for arguments, lines in SAID:
            text = await rejection(harbour, era, tool, arguments)
            assert text is not None
            assert text.splitlines() == [f"Error executing tool {tool}: the arguments were rejected", *lines]


VALUES = st.recursive(
    st.sampled_from([CANARY, f"{CANARY}://{CANARY}", f"2026-01-01 {CANARY}", f"[{CANARY}", f'["{CANARY}"]', 1.5, None, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "lives", "port", CANARY]), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["number", "by_name", "pet", "strict", "flag", "at", "on", "key", "url", "either", "text", "many", CANARY]


async def test_no_value_and_no_library_is_quoted_whatever_is_sent_on_whichever_way() -> None:
    async with serving(server=server()) as harbour:

        @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
        @given(st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=4))
        def any_arguments(arguments: dict[str, Any]) -> None:
            said = set[str | None]()
            for era, tool in WAYS:
                text = anyio.from_thread.run(rejection, harbour, era, tool, arguments)
                said.add(text and text.replace(f"tool {tool}:", "tool:"))
            [words] = said  # the same on every way
            assert [word for word in (CANARY, *LIBRARY) if word in (words or "")] == []

        with written() as logs:
            await anyio.to_thread.run_sync(any_arguments)
    assert [entry for entry in logs if CANARY in json.dumps(entry, default=str)] == []


@pytest.mark.parametrize(("era", "tool"), WAYS)
async def test_the_words_are_bounded_however_much_is_wrong(era: str, tool: str) -> None:
    async with serving(server=server()) as harbour:
        some = await rejection(harbour, era, tool, {"many": [CANARY] * 900})
        most = await rejection(harbour, era, tool, {"many": [CANARY] * 40_000})
    assert some is not None
    assert most is not None
    assert some.splitlines()[-1] == "and 880 more"
    assert len(some.splitlines()) == 22
    assert most.splitlines()[1:] == ["40000 values are wrong"]


async def test_a_tool_that_calls_another_passes_its_words_on_and_one_that_refuses_has_its_own() -> None:
    async with serving(server=server()) as harbour:
        for era in ("modern", "legacy"):
            passed_on = await rejection(harbour, era, "through", {"arguments": {"number": CANARY}})
            assert passed_on == (
                "Error executing tool through: Error executing tool hot: the arguments were rejected\n"
                "number: Input should be a valid integer, unable to parse string as an integer [int_parsing]"
            )
            assert await rejection(harbour, era, "within", {}) == "Error executing tool within: the tool's own words"


async def test_the_log_names_the_tool_and_the_arguments_that_it_has() -> None:
    async with serving(server=server()) as harbour:
        with logged() as logs:
            await rejection(harbour, "modern", "hot", {"number": CANARY, "by_name": {CANARY: CANARY}})
    [entry] = [entry for entry in logs if entry["event"] == "mcp.tool_rejected_arguments"]
    assert (entry["tool"], entry["fields"]) == ("hot", ["by_name", "number"])

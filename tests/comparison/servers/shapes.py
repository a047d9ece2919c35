"""Tools by the shape of what they take and give; none of them needs the request's context."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
from typing import Annotated, Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.utilities.types import Audio, Image
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ImageContent, InputRequiredResult, TextContent
from pydantic import BaseModel, Field
from typing_extensions import TypedDict


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: int
    y: int


class Labelled(TypedDict):
    x: int
    y: str | None


@dataclasses.dataclass
class Pair:
    a: int
    b: list[str]


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def add_in_a_thread(a: int, b: int) -> int:
    """Add two numbers; a plain function runs in a worker thread."""
    return a + b


async def echo(value: Any) -> Any:
    """Give back what came in."""
    return value


async def typed(
    i: int,
    f: float = 0.5,
    s: str = "d",
    items: list[int] = [],  # noqa: B006 - a mutable default is what some authors write
    b: bool = False,
    o: int | None = None,
) -> dict[str, Any]:
    """One argument of each plain type."""
    return {"i": i, "f": f, "s": s, "items": items, "b": b, "o": o}


async def unannotated(x) -> Any:  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]
    """An argument without a type."""
    return x


async def awkward_names(json: str, model_dump: int = 1) -> str:
    """Arguments named like pydantic's own methods."""
    return f"{json}{model_dump}"


async def coloured(colour: Colour) -> str:
    """An enumeration as an argument."""
    return colour.name


async def mirrored(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "none",
    shard: Annotated[int | None, Field(json_schema_extra={"x-mcp-header": "Shard", "type": "integer"})] = None,
) -> str:
    """Arguments mirrored into Mcp-Param headers."""
    return f"{region}/{shard}"


async def when(at: datetime.datetime) -> datetime.datetime:
    """A date and time in and out."""
    return at


async def exact(amount: decimal.Decimal) -> decimal.Decimal:
    """A decimal in and out."""
    return amount


async def swapped(p: Point) -> Point:
    """A model in and out."""
    return Point(x=p.y, y=p.x)


async def more_than_declared() -> Point:
    """Return a subclass with a member more than the declared model."""

    class Point3(Point):
        z: int = 3

    return Point3(x=1, y=2)


async def points() -> list[Point]:
    """A list of models."""
    return [Point(x=1, y=2), Point(x=3, y=4)]


async def labelled() -> Labelled:
    """A typed dictionary."""
    return {"x": 1, "y": None}


async def pair() -> Pair:
    """A dataclass."""
    return Pair(1, ["x"])


async def texts() -> list[str]:
    """Several texts."""
    return ["a", "b"]


async def nothing() -> None:
    """Nothing at all."""


async def perhaps(x: int) -> int | None:
    """A number or nothing."""
    return None if x else 5


async def unicode(s: str) -> str:
    """Text beyond ASCII."""
    return s + " é中\U0001f600 \u2028"


async def picture() -> Image:
    """An image."""
    return Image(data=b"abc", format="png")


async def sound() -> Audio:
    """A sound."""
    return Audio(data=b"abc", format="wav")


async def block() -> TextContent:
    """A content block."""
    return TextContent(type="text", text="b")


async def image_block() -> ImageContent:
    """A content block that is no text."""
    return ImageContent(type="image", data="aGk=", mime_type="image/png")


async def as_declared(kind: str) -> CallToolResult:
    """Results that a tool puts together itself."""
    strange = {
        "at": datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
        "none": None,
        "colour": Colour.RED,
        "nan": float("nan"),
        "big": 2**70,
        "tuple": (1, 2),
        5: 6,
    }
    results = {
        "plain": CallToolResult(content=[TextContent(type="text", text="p")]),
        "meta": CallToolResult(content=[TextContent(type="text", text="p", _meta={"a": None})], _meta={"q": 1}),
        "error": CallToolResult(content=[], is_error=True),
        "strange": CallToolResult(content=[], structured_content=strange),  # pyright: ignore[reportArgumentType]
        "image": CallToolResult(content=[ImageContent(type="image", data="aGk=", mime_type="image/png")]),
    }
    return results[kind]


async def against_its_word() -> int:
    """Return what the signature does not promise."""
    return "no number"  # pyright: ignore[reportReturnType]


async def crashes() -> str:
    """Fail in a way nobody planned."""
    raise RuntimeError("internal detail")


async def fails() -> str:
    """Fail in a planned way."""
    raise ToolError("expected failure")


async def refuses(code: int = -32001) -> str:
    """Answer with a protocol error."""
    raise MCPError(code=code, message="custom", data={"k": 1, "none": None})


async def asks_by_hand(state: str | None = None) -> InputRequiredResult | str:
    """Ask the user by hand, with a state that must not be readable on the wire."""
    return "no question" if state is None else InputRequiredResult(request_state="PLAIN-" + state)


TOOLS = (
    add, add_in_a_thread, echo, typed, unannotated, awkward_names, coloured, mirrored, when, exact, swapped, more_than_declared, points,
    labelled, pair, texts, nothing, perhaps, unicode, picture, sound, as_declared, against_its_word, crashes, fails, refuses, asks_by_hand,
)  # fmt: skip

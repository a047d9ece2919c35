"""A harbour office as an MCP server: one tool for each thing a server can do.

`moorage serve examples/quickstart/server.py` serves the object `mcp` below. Nothing in this file
knows about HTTP, keys, logs or shutdown: that is the runtime's part.
"""

import os
from typing import Annotated, Literal

import anyio
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from pydantic import BaseModel, Field

mcp = MCPServer("quickstart", version="1.0.0", instructions="A harbour office: sums, live load, text measures and berth bookings.")

PRICE_PER_METRE_AND_NIGHT = 2.5
BERTHS = {"A1": 8.0, "A2": 12.0, "B1": 18.0, "B2": 30.0}


@mcp.tool()
async def add(a: int | float, b: int | float) -> int | float:
    """Add two numbers."""
    return a + b


class Load(BaseModel):
    """The load average of the machine, one value a sample."""

    samples: list[float]
    highest: float


@mcp.tool()
async def watch_load(
    ctx: Context,
    samples: Annotated[int, Field(ge=1, le=60)] = 5,
    every_seconds: Annotated[float, Field(ge=0, le=10)] = 0.5,
) -> Load:
    """Sample the load of the server's machine; each sample is sent as it is taken."""
    taken: list[float] = []
    for number in range(1, samples + 1):
        if number > 1:
            await anyio.sleep(every_seconds)
        taken.append(round(os.getloadavg()[0], 2))
        await ctx.report_progress(number, samples, f"sample {number}: load {taken[-1]}")
    return Load(samples=taken, highest=max(taken))


class TextMeasures(BaseModel):
    """What was counted in a text."""

    characters: int
    words: int
    lines: int
    longest_word: str = Field(description="The longest word, empty if there is none")


@mcp.tool()
async def measure_text(text: str) -> TextMeasures:
    """Count the characters, words and lines of a text."""
    words = text.split()
    return TextMeasures(
        characters=len(text),
        words=len(words),
        lines=len(text.splitlines()),
        longest_word=max(words, key=len, default=""),
    )


class Confirmation(BaseModel):
    """What the user is asked before money is spent."""

    accept: bool = Field(description="Book the berth at this price?")


class Booking(BaseModel):
    """A berth that was booked, or why none was."""

    vessel: str
    status: Literal["booked", "refused", "no berth is long enough"]
    berth: str | None = None
    price: float = 0.0


def quote(length_metres: float, nights: int) -> tuple[str | None, float]:
    """The smallest berth the vessel fits in, and what the stay costs."""
    fitting = [name for name, length in sorted(BERTHS.items(), key=lambda berth: berth[1]) if length >= length_metres]
    return (fitting[0] if fitting else None, round(length_metres * nights * PRICE_PER_METRE_AND_NIGHT, 2))


async def confirm(vessel: str, length_metres: float, nights: int) -> Confirmation | Elicit[Confirmation]:
    """Ask the user about the price. A resolver works in every protocol revision; `ctx.elicit()` only in those before 2026-07-28."""
    berth, price = quote(length_metres, nights)
    if berth is None:
        return Confirmation(accept=False)
    return Elicit(f"Book berth {berth} for {vessel}, {nights} night(s), for {price:.2f}?", Confirmation)


@mcp.tool()
async def book_berth(
    vessel: Annotated[str, Field(min_length=1, max_length=80)],
    length_metres: Annotated[float, Field(gt=0, le=400)],
    nights: Annotated[int, Field(ge=1, le=365)],
    answer: Annotated[Confirmation, Resolve(confirm)],
) -> Booking:
    """Book a berth for a vessel. The user is asked to accept the price first."""
    berth, price = quote(length_metres, nights)
    if berth is None:
        return Booking(vessel=vessel, status="no berth is long enough")
    if not answer.accept:
        return Booking(vessel=vessel, status="refused", berth=berth)
    return Booking(vessel=vessel, status="booked", berth=berth, price=price)


@mcp.resource("harbour://berths", mime_type="application/json")
async def berths() -> dict[str, float]:
    """Every berth and its length in metres."""
    return BERTHS


@mcp.prompt()
async def arrival_notice(vessel: str, nights: str = "1") -> str:
    """A message to the harbour office, ready to be sent to a model."""
    return f"Write a short, polite notice to the harbour office: the vessel {vessel} arrives tonight and stays {nights} night(s)."

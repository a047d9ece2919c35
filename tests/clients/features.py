"""What a client has to be able to do, each with a client of any maker: the same words for all of them.

A feature is a coroutine that ends when the client can do it, and raises when it cannot; what the docstring says is what holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
import httpx2 as httpx

from tests.clients import gates
from tests.clients.driver import Connection, Driver, Refused
from tests.clients.stage import Stage

OUTCOME_UNKNOWN: Final = -32011
MODERN: Final = "2026-07-28"
_STORM_SECONDS: Final = 4.0


class Wrong(Exception):  # noqa: N818 - a verdict
    """The client saw something else than it should have."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One client's try at one feature: clients that it connects end with it."""

    stage: Stage
    driver: Driver
    guise: str
    _open: list[Connection] = field(default_factory=list[Connection])

    async def connect(self) -> Connection:
        """Connect another client."""
        connection = await Connection.open(self.driver, self.stage.url, self.guise)
        self._open.append(connection)
        return connection

    async def connect_elsewhere(self, process: str) -> Connection:
        """Connect another client, to a session that is owned by another process than this one."""
        for _ in range(len(self.stage.fleet) * 2):
            connection = await self.connect()
            if (await connection.call("where")).text != process:
                return connection
            await connection.call("add", a=0, b=0)  # the round robin's next place is another one
        raise Wrong("every session came to the same replica")

    async def leave(self) -> None:
        """End the clients that are still connected."""
        await asyncio.gather(*(connection.end() for connection in self._open), return_exceptions=True)

    def ended(self, connection: Connection) -> None:
        """This client was ended."""
        self._open.remove(connection)


def expect(what: str, wanted: object, got: object) -> None:
    """Compare.

    Raises:
        Wrong: They differ.
    """
    if wanted != got:
        raise Wrong(f"{what}: {wanted!r} was expected, and {got!r} came")


async def handshake(attempt: Attempt) -> None:
    """The revision is the newest that both speak, and the tools are listed."""
    client = await attempt.connect()
    expect("revision", attempt.guise, client.revision)
    expect("a session", attempt.guise != MODERN, client.session is not None)
    expect("tools", True, {"add", "look"} <= set(await client.tools()))


async def calls(attempt: Attempt) -> None:
    """Calls one after another and at once are answered rightly, and every replica had requests."""
    client, before = await attempt.connect(), attempt.stage.balancer.shares()
    for number in range(6):
        expect("sum", str(number + 1), (await client.call("add", a=number, b=1)).text)
    at_once = [client.begin("add", a=number, b=number) for number in range(12)]
    sums = [(await client.finish(call)).text for call in at_once]
    expect("sums at once", [str(2 * number) for number in range(12)], sums)
    shares = [now - then for now, then in zip(attempt.stage.balancer.shares(), before, strict=True)]
    expect("every replica had requests", True, all(shares))


async def progress(attempt: Attempt) -> None:
    """All progress arrives, in order, before the result."""
    client = await attempt.connect()
    for _ in attempt.stage.fleet.replicas:
        call = client.begin("count", to=5)
        expect("result", "counted to 5", (await client.finish(call)).text)
        expect("progress", [1, 2, 3, 4, 5], client.progress(call))


async def elicitation(attempt: Attempt) -> None:
    """A question to the user in the middle of a call, and the answer, find each other."""
    client = await attempt.connect()
    for _ in range(len(attempt.stage.fleet) + 1):
        expect("greeting", "Hello, Ada", (await client.call("greet")).text)


async def sampling(attempt: Attempt) -> None:
    """A question to the client's model in the middle of a call, and the answer, find each other."""
    client = await attempt.connect()
    for _ in range(len(attempt.stage.fleet) + 1):
        expect("thought", "six times seven? 42", (await client.call("think", question="six times seven?")).text)


async def resumption_after_a_cut(attempt: Attempt) -> None:
    """The network is cut in the middle of a call that ends meanwhile: the client comes back by itself and has the result."""
    client, gate = await attempt.connect(), gates.shut()
    call = client.begin("change", gate=gate)
    await client.first_progress(call)
    mark = client.mark
    await attempt.stage.way.cut()
    attempt.stage.open(gate)
    await attempt.stage.way.heal()
    expect("result", f"passed {gate}", (await client.finish(call)).text)
    expect("progress", [1, 2], client.progress(call))
    expect("streams were resumed", True, client.streams_opened(mark, resumed=True) > 0)


async def resumption_after_a_kill(attempt: Attempt) -> None:
    """The replica that runs a `readOnlyHint` call is killed: the call runs again elsewhere, and the client has its result."""
    client, gate = await attempt.connect(), gates.shut()
    call = client.begin("look", gate=gate)
    owner = int(await client.first_progress(call))
    mark = client.mark
    await attempt.stage.kill(owner)
    attempt.stage.open(gate)
    expect("result", f"passed {gate}", (await client.finish(call)).text)
    expect("progress", [1, 2], client.progress(call))
    expect("streams were resumed", True, client.streams_opened(mark, resumed=True) > 0)


async def outcome_unknown(attempt: Attempt) -> None:
    """The replica that runs any other call is killed: the client has the error that says so, and is at peace afterwards."""
    client, gate = await attempt.connect(), gates.shut()
    call = client.begin("change", gate=gate)
    owner = int(await client.first_progress(call))
    await attempt.stage.kill(owner)
    try:
        answer = await client.finish(call)
    except Refused as refused:
        expect("error", OUTCOME_UNKNOWN, refused.code)
    else:
        raise Wrong(f"the call ended with {answer}")
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)
    if not await client.quiet_for(_STORM_SECONDS, client.mark, most=2):
        raise Wrong("the client opens one stream after another")


async def loss_is_told(attempt: Attempt) -> None:
    """The replica that runs a call is killed: the call fails at once, and the next one is served by another replica."""
    client, gate = await attempt.connect(), gates.shut()
    call = client.begin("change", gate=gate)
    await attempt.stage.kill(int(await client.first_progress(call)))
    with anyio.fail_after(5):
        try:
            answer = await client.finish(call)
        except Refused:
            pass
        else:
            raise Wrong(f"the call ended with {answer}")
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)


async def notices(attempt: Attempt) -> None:
    """A list's change that one replica published is heard by the clients of every other."""
    listener = await attempt.connect()
    if attempt.guise != MODERN:
        await listener.streams()
    speaker = await attempt.connect_elsewhere((await listener.call("where")).text) if attempt.guise != MODERN else await attempt.connect()
    for _ in attempt.stage.fleet.replicas:
        mark = listener.mark
        await speaker.call("announce")
        await listener.told_of_change(mark)


async def notices_after_a_kill(attempt: Attempt) -> None:
    """The replica that holds a client's GET stream is killed: what was published before the client is back is heard, too."""
    listener = await attempt.connect()
    await listener.streams()
    owner = (await listener.call("where")).text
    speaker = await attempt.connect_elsewhere(owner)
    mark = listener.mark
    await attempt.stage.kill(int(owner))
    await speaker.call("announce")
    await listener.told_of_change(mark)
    expect("streams were resumed", True, listener.streams_opened(mark) > 0)


async def rolling_update(attempt: Attempt) -> None:
    """Every replica is replaced: the session goes on, and so does its GET stream."""
    client = await attempt.connect()
    await client.streams()
    mark = client.mark
    await attempt.stage.roll()
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)
    await client.streams(mark)
    mark = client.mark
    await client.call("announce")
    await client.told_of_change(mark)


async def session_end(attempt: Attempt) -> None:
    """A session that the client ended is gone on every replica."""
    client = await attempt.connect()
    session = client.session or ""
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)
    await client.end()
    attempt.ended(client)
    headers = {"mcp-session-id": session, "accept": "application/json, text/event-stream", "mcp-protocol-version": attempt.guise}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
        statuses = [(await http.post(f"{replica.url}/mcp", json=ping)).status_code for replica in attempt.stage.fleet.replicas]
    expect("statuses", [404] * len(attempt.stage.fleet), statuses)


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of the table.

    Attributes:
        absent: Why clients of the newest revision, which has no sessions, have no such thing; empty where they have.
        older: The same for those of the session era.
    """

    name: str
    prove: Callable[[Attempt], Awaitable[None]]
    absent: str = ""
    older: str = ""


_NO_SESSIONS: Final = "the revision has no sessions"
_NO_POSITIONS: Final = "the revision has no resumption"
_NEEDS_STORE: Final = "needs a store"

WITH_STORE: Final = (
    Feature("handshake", handshake),
    Feature("calls", calls),
    Feature("progress", progress),
    Feature("elicitation", elicitation),
    Feature("sampling", sampling),
    Feature("resumption after a cut", resumption_after_a_cut, absent=_NO_POSITIONS),
    Feature("resumption after SIGKILL", resumption_after_a_kill, absent=_NO_POSITIONS),
    Feature("outcome unknown after SIGKILL", outcome_unknown, absent=_NO_POSITIONS),
    Feature("SIGKILL fails a call at once", loss_is_told, older="the call is resumed"),
    Feature("list-changed notices", notices),
    Feature("notices over a SIGKILL", notices_after_a_kill, absent=_NO_POSITIONS),
    Feature("rolling update", rolling_update, absent=_NO_SESSIONS),
    Feature("session end", session_end, absent=_NO_SESSIONS),
)

WITHOUT_STORE: Final = (
    Feature("handshake", handshake),
    Feature("calls", calls),
    Feature("progress", progress),
    Feature("elicitation", elicitation, older=_NEEDS_STORE),
    Feature("sampling", sampling, older=_NEEDS_STORE),
)

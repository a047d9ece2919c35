"""What clients do on any day: calls, progress, questions to the client, notices, cancellation, the end of a session."""

from __future__ import annotations

from typing import Final

import httpx2 as httpx

from tests.clients import gates
from tests.clients.features import Attempt, expect

REFUSAL: Final = -32050
"""Error code of the tool `refuse`."""

_STORM_SECONDS: Final = 4.0


async def handshake(attempt: Attempt) -> None:
    """The revision is the one that the client asks for, and the tools are listed."""
    client = await attempt.connect()
    expect("revision", attempt.guise, client.revision)
    expect("a session", not attempt.modern, client.session is not None)
    expect("tools", True, {"add", "look"} <= set(await client.tools()))


async def calls(attempt: Attempt) -> None:
    """Calls one after another and at once are answered rightly, and every replica has requests."""
    client, before = await attempt.connect(), attempt.stage.balancer.shares()
    for number in range(6):
        expect("sum", str(number + 1), (await client.call("add", a=number, b=1)).text)
    at_once = [client.begin("add", a=number, b=number) for number in range(12)]
    sums = [(await client.finish(call)).text for call in at_once]
    expect("sums at once", [str(2 * number) for number in range(12)], sums)
    shares = [now - then for now, then in zip(attempt.stage.balancer.shares(), before, strict=True)]
    expect("every replica has requests", True, all(shares))


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


async def cancellation(attempt: Attempt) -> None:
    """A call that the client cancels is interrupted wherever it runs, and the client goes on."""
    client, gate = await attempt.connect(), gates.shut()
    call = client.begin("change", gate=gate)
    await client.first_progress(call)
    await client.cancel(call)
    await client.error(call)
    await attempt.stage.given_up(gate)
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)


async def error_in_a_stream(attempt: Attempt) -> None:
    """A call that streams ends with a protocol error, which the client has; it opens no further streams because of that."""
    client = await attempt.connect()
    if not attempt.modern:
        await client.streams()
    mark = client.mark
    expect("error", REFUSAL, await client.error(client.begin("refuse")))
    expect("streams opened afterwards", 0, await client.streams_within(_STORM_SECONDS, mark))


async def notices(attempt: Attempt) -> None:
    """A list's change that one replica published is heard by the clients of every other."""
    listener = await attempt.connect()
    if attempt.modern:
        speaker = await attempt.connect()
    else:
        await listener.streams()
        speaker = await attempt.connect_elsewhere((await listener.call("where")).text)
    for _ in attempt.stage.fleet.replicas:
        mark = listener.mark
        await speaker.call("announce")
        await listener.told_of_change(mark)


async def session_end(attempt: Attempt) -> None:
    """A session that the client ended is gone on every replica."""
    client = await attempt.connect()
    session = client.session or ""
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)
    await attempt.end(client)
    expect("statuses", [404] * len(attempt.stage.fleet), await _statuses(attempt, session))


async def session_lost(attempt: Attempt) -> None:
    """A session that somebody else ended is told as such: the next call fails at once."""
    client = await attempt.connect()
    headers = {"mcp-session-id": client.session or "", "mcp-protocol-version": attempt.guise}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
        expect("status", 200, (await http.delete(attempt.stage.url)).status_code)
    expect("a time-out", False, "timed out" in str(await client.error(client.begin("add", a=1, b=2))).lower())


async def _statuses(attempt: Attempt, session: str) -> list[int]:
    headers = {"mcp-session-id": session, "accept": "application/json, text/event-stream", "mcp-protocol-version": attempt.guise}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
        return [(await http.post(f"{replica.url}/mcp", json=ping)).status_code for replica in attempt.stage.fleet.replicas]

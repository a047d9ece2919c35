"""What clients live through: a network that is cut, replicas that are killed or replaced, streams that are ended for their age."""

from __future__ import annotations

from typing import Final

from tests.clients import gates
from tests.clients.features import Attempt, expect

OUTCOME_UNKNOWN: Final = -32011
_CLIENT_WAITS: Final = 2.0


async def cut(attempt: Attempt) -> None:
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
    expect("a stream was resumed", True, client.streams_opened(mark, resumed=True) > 0)


async def killed(attempt: Attempt) -> None:
    """The replica that runs a `readOnlyHint` call is killed: the call runs again elsewhere, and the client has its result."""
    victim, gate = await attempt.stage.victim(), gates.shut()
    client = await attempt.connect_to(victim)
    call = client.begin("look", gate=gate)
    expect("process", victim, await client.first_progress(call))
    mark = client.mark
    await attempt.kill(victim)
    attempt.stage.open(gate)
    expect("result", f"passed {gate}", (await client.finish(call)).text)
    expect("progress", [1, 2], client.progress(call))
    expect("a stream was resumed", True, client.streams_opened(mark, resumed=True) > 0)


async def killed_twice(attempt: Attempt) -> None:
    """The replica that took the call over is killed as well, before it had anything new to say: the client still has the result."""
    client, gate = await attempt.connect(), gates.shut()
    call = client.begin("look", gate=gate)
    await attempt.stage.kill(await client.first_progress(call))
    await client.streams(resumed=True)
    await attempt.stage.kill((await client.call("where")).text)
    attempt.stage.open(gate)
    expect("result", f"passed {gate}", (await client.finish(call)).text)
    expect("progress", [1, 2], client.progress(call))


async def outcome_unknown(attempt: Attempt) -> None:
    """The replica that runs any other call is killed: the client has the error that says so, and goes on."""
    victim = await attempt.stage.victim()
    client = await attempt.connect_to(victim)
    call = client.begin("change", gate=gates.shut())
    expect("process", victim, await client.first_progress(call))
    await attempt.kill(victim)
    expect("error", OUTCOME_UNKNOWN, await client.error(call))
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)


async def asked_again(attempt: Attempt) -> None:
    """The replica is killed while the user thinks about the question of a `readOnlyHint` call, which is asked again and has its answer."""
    victim = await attempt.stage.victim()
    client = await attempt.connect_to(victim, thinks=True)
    call = client.begin("recognise")
    await client.asked()
    mark = client.mark
    await attempt.kill(victim)
    await client.streams(mark, resumed=True)
    await client.answer()
    expect("result", "It is Ada", (await client.finish(call)).text)
    await client.asked(mark)
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)


async def answered_late(attempt: Attempt) -> None:
    """The replica is killed while the user thinks about the question of any other call, whose outcome is told; the answer hurts nobody."""
    victim = await attempt.stage.victim()
    client = await attempt.connect_to(victim, thinks=True)
    call = client.begin("greet")
    await client.asked()
    mark = client.mark
    await attempt.kill(victim)
    await client.streams(mark, resumed=True)
    mark = client.mark
    await client.answer()
    expect("status of the answer", 202, await client.next_post(mark))
    expect("error", OUTCOME_UNKNOWN, await client.error(call))
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)


async def told_at_once(attempt: Attempt) -> None:
    """The replica that runs a call is killed: the call fails at once."""
    client = await attempt.connect()
    call = client.begin("change", gate=gates.shut())
    await attempt.stage.kill(await client.first_progress(call))
    await client.error(call, within=5)


async def served_elsewhere(attempt: Attempt) -> None:
    """The replica that runs a call is killed: others serve what comes after it, once the client has given it up."""
    client = await attempt.connect()
    call = client.begin("change", client_waits=_CLIENT_WAITS, gate=gates.shut())
    await attempt.stage.kill(await client.first_progress(call))
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)
    await client.error(call)
    expect("sum", "7", (await client.call("add", a=3, b=4)).text)


async def notices_kept(attempt: Attempt) -> None:
    """The replica that holds a client's GET stream is killed: what was published before the client is back is heard, too."""
    victim = await attempt.stage.victim()
    listener = await attempt.connect_to(victim)
    await listener.streams()
    speaker = await attempt.connect_elsewhere(victim)
    mark = listener.mark
    await attempt.kill(victim)
    expect("streams opened before the notice", 0, listener.streams_opened(mark))
    await speaker.call("announce")
    await listener.told_of_change(mark)
    expect("a stream was opened", True, listener.streams_opened(mark) > 0)


async def rolling_update(attempt: Attempt) -> None:
    """Every replica is replaced: the session goes on, and so does its GET stream."""
    client = await attempt.connect()
    await client.streams()
    mark = client.mark
    await _roll(attempt)
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)
    await client.streams(mark)
    mark = client.mark
    await client.call("announce")
    await client.told_of_change(mark)


async def restarted(attempt: Attempt) -> None:
    """Every replica is replaced: the session goes on."""
    client = await attempt.connect()
    expect("sum", "3", (await client.call("add", a=1, b=2)).text)
    await _roll(attempt)
    for number in range(len(attempt.stage.fleet)):
        expect("sum", str(number + 1), (await client.call("add", a=number, b=1)).text)


async def _roll(attempt: Attempt) -> None:
    """Replace every replica, once for all the clients that try at the same time."""
    if await attempt.together.wait() == 0:
        await attempt.stage.roll()
    await attempt.together.wait()


async def several_lives(attempt: Attempt) -> None:
    """Streams end for their age several times while a call has nothing to say: its result still arrives, and so do notices."""
    client, gate = await attempt.connect(), gates.shut()
    await client.streams()
    call = client.begin("change", gate=gate)
    await client.first_progress(call)
    await client.streams(client.mark, count=6, resumed=True)
    attempt.stage.open(gate)
    expect("result", f"passed {gate}", (await client.finish(call)).text)
    mark = client.mark
    await client.call("announce")
    await client.told_of_change(mark)

"""Exchanges in which the server speaks of its own accord: questions to the client, the GET stream, cancellation."""

from __future__ import annotations

from typing import Any

import anyio

from tests.comparison.wire import Exchange

from .client import Client, Script, call, note, rpc

SINCE_ELICITATION = ("2025-06-18", "2025-11-25")
ANSWERED = {"role": "assistant", "content": {"type": "text", "text": "something"}, "model": "m", "stopReason": "endTurn"}


def _result(value: Any) -> Any:
    return lambda _: {"result": value}


def _error(code: int) -> Any:
    return lambda _: {"error": {"code": code, "message": "no"}}


async def elicitation_accepted(client: Client) -> None:
    await client.open()
    await client.converse(call("elicits"), _result({"action": "accept", "content": {"name": "Bo"}}))


async def elicitation_declined(client: Client) -> None:
    await client.open()
    await client.converse(call("elicits"), _result({"action": "decline"}))


async def elicitation_refused(client: Client) -> None:
    await client.open()
    await client.converse(call("elicits"), _error(-1))


async def elicitation_answered_wrongly(client: Client) -> None:
    await client.open()
    await client.converse(call("elicits"), _result({"action": "perhaps"}))


async def elicitation_without_the_capability(client: Client) -> None:
    await client.open({})
    await client.converse(call("elicits"), _result({"action": "accept", "content": {"name": "Bo"}}))


async def a_resolvers_question(client: Client) -> None:
    await client.open()
    await client.converse(call("greet", greeting="hi"), _result({"action": "accept", "content": {"name": "Bo"}}))


async def a_resolvers_question_declined(client: Client) -> None:
    await client.open()
    await client.converse(call("greet", greeting="hi"), _result({"action": "decline"}))


async def sampling(client: Client) -> None:
    await client.open()
    await client.converse(call("samples"), _result(ANSWERED))


async def sampling_refused(client: Client) -> None:
    await client.open()
    await client.converse(call("samples"), _error(-32601))


async def roots_asked_on_the_get_stream(client: Client) -> None:
    await client.open()
    listening = await _listening(client)
    exchange = client.begin(call("lists_roots"))
    question = await anext(client.messages(listening))
    client.say(question)
    await client.post({"jsonrpc": "2.0", "id": question["id"], "result": {"roots": [{"uri": "file:///a", "name": "a"}]}})
    await _to_its_end(client, exchange)
    listening.leave()
    await listening.finished()


async def two_questions_one_after_the_other(client: Client) -> None:
    await client.open()
    for number in (1, 2):
        await client.converse(call("elicits", number), _result({"action": "accept", "content": {"name": f"Bo {number}"}}))


async def progress_while_it_runs(client: Client) -> None:
    await client.open()
    exchange = await _lingering(client, call("linger_on_a_stream", _meta={"progressToken": 1}))
    stream = client.messages(exchange)
    client.say(await anext(stream))
    client.transcript.append(f"complete {exchange.complete}")
    client.notes.release.set()
    client.say(await anext(stream))
    await exchange.finished()


async def two_calls_at_once(client: Client) -> None:
    await client.open()
    exchange = await _lingering(client, call("linger", "slow"))
    await client.post(call("add", "fast", a=1, b=2))
    client.notes.release.set()
    await _to_its_end(client, exchange)


async def a_call_cancelled(client: Client) -> None:
    await client.open()
    exchange = await _lingering(client, call("linger", "slow"))
    await client.post(note("notifications/cancelled", {"requestId": "slow", "reason": "enough"}))
    with anyio.fail_after(5):
        await client.notes.cancelled.wait()
    await _to_its_end(client, exchange)


async def a_client_that_leaves_does_not_cancel_its_call(client: Client) -> None:
    await client.open()
    exchange = await _lingering(client, call("linger", "slow"))
    exchange.leave()
    await client.post(rpc("ping"))
    client.transcript.append(f"cancelled {client.notes.cancelled.is_set()}")
    client.notes.release.set()
    await exchange.finished()
    await client.post(call("add", "other", a=1, b=2))


async def the_session_deleted_under_a_call(client: Client) -> None:
    await client.open()
    exchange = await _lingering(client, call("linger", "slow"))
    await client.send("DELETE")
    await exchange.finished()
    with anyio.fail_after(5):
        await client.notes.cancelled.wait()
    await client.post(rpc("ping"))


async def changes_announced_on_the_get_stream(client: Client) -> None:
    await client.open()
    exchange = await _listening(client)
    stream = client.messages(exchange)
    await client.post(call("announces"))
    client.say(await anext(stream))
    exchange.leave()
    await exchange.finished()


async def changes_announced_to_nobody(client: Client) -> None:
    await client.open()
    await client.post(call("announces"))


async def a_second_get_stream(client: Client) -> None:
    await client.open()
    for exchange in [await _listening(client), await _listening(client)]:
        exchange.leave()
        await exchange.finished()


async def a_get_stream_after_another(client: Client) -> None:
    await client.open()
    for _ in range(2):
        exchange = await _listening(client)
        exchange.leave()
        await exchange.finished()


async def the_session_deleted_under_a_get_stream(client: Client) -> None:
    await client.open()
    exchange = await _listening(client)
    await client.send("DELETE")
    await _to_its_end(client, exchange)


async def _listening(client: Client) -> Exchange:
    exchange = Exchange(client.app, client.request("GET"))
    client.transcript.append(f"listening {await exchange.started()}")
    return exchange


async def _lingering(client: Client, message: Any) -> Exchange:
    for event in (client.notes.lingering, client.notes.cancelled, client.notes.release):
        event.clear()
    exchange = client.begin(message)
    with anyio.fail_after(5):
        await client.notes.lingering.wait()
    return exchange


async def _to_its_end(client: Client, exchange: Exchange) -> None:
    async for message in client.messages(exchange):
        client.say(message)
    await exchange.finished()
    client.transcript.append(f"status {exchange.status}")


ASKING = (
    elicitation_accepted, elicitation_declined, elicitation_refused, elicitation_answered_wrongly, elicitation_without_the_capability,
    a_resolvers_question, a_resolvers_question_declined, two_questions_one_after_the_other,
)  # fmt: skip
STREAMING = (sampling, sampling_refused, progress_while_it_runs)
WHATEVER = (
    two_calls_at_once, a_call_cancelled, a_client_that_leaves_does_not_cancel_its_call, the_session_deleted_under_a_call,
    changes_announced_on_the_get_stream, changes_announced_to_nobody, a_second_get_stream, a_get_stream_after_another,
    the_session_deleted_under_a_get_stream, roots_asked_on_the_get_stream,
)  # fmt: skip


def _sentence(play: Any) -> str:
    return str(play.__name__).replace("_", " ")


SCRIPTS = (
    *(Script(_sentence(play), play, SINCE_ELICITATION, streams=True) for play in ASKING),
    *(Script(_sentence(play), play, streams=True) for play in STREAMING),
    *(Script(_sentence(play), play) for play in WHATEVER),
)

"""Sessions: how they begin and end, and who may use them."""

from __future__ import annotations

import json
from typing import Any

from .client import CAPABILITIES, Client, Script, call, note, rpc

PING = json.dumps(rpc("ping")).encode()


def _initialize(version: Any, **changed: Any) -> dict[str, Any]:
    params = {"protocolVersion": version, "capabilities": CAPABILITIES, "clientInfo": {"name": "c", "version": "1"}, **changed}
    return rpc("initialize", {key: value for key, value in params.items() if value is not None})


def _session_id(client: Client) -> None:
    client.transcript.append(f"session id {'given' if client.session else 'none'}")


async def handshake(client: Client) -> None:
    await client.post(_initialize(client.version))
    _session_id(client)
    await client.post(note("notifications/initialized"))
    await client.post(rpc("tools/list"))


async def asks_for_an_unknown_version(client: Client) -> None:
    await client.post(_initialize("1999-01-01"))


async def asks_for_the_modern_version(client: Client) -> None:
    await client.post(_initialize("2026-07-28"))


async def initializes_without_a_version(client: Client) -> None:
    await client.post(_initialize(None))


async def initializes_without_params(client: Client) -> None:
    await client.post(rpc("initialize"))


async def initializes_with_a_wrong_client(client: Client) -> None:
    await client.post(_initialize(client.version, clientInfo={"name": 1}))


async def initializes_twice(client: Client) -> None:
    await client.open()
    await client.post(_initialize(client.version))


async def calls_before_it_says_that_it_is_initialized(client: Client) -> None:
    await client.post(_initialize(client.version))
    await client.post(call("add", 2, a=1, b=2))


async def pings_before_anything(client: Client) -> None:
    await client.post(rpc("ping"))


async def calls_before_anything(client: Client) -> None:
    await client.post(call("add", a=1, b=2))


async def notifies_before_anything(client: Client) -> None:
    await client.post(note("notifications/initialized"))


async def calls_without_its_session(client: Client) -> None:
    await client.open()
    await client.post(rpc("ping"), headers={"mcp-session-id": None})


async def calls_in_an_unknown_session(client: Client) -> None:
    await client.open()
    await client.post(rpc("ping"), headers={"mcp-session-id": "unknown"})


async def initializes_in_an_unknown_session(client: Client) -> None:
    await client.post(_initialize(client.version), headers={"mcp-session-id": "unknown"})


async def calls_without_the_version_header(client: Client) -> None:
    await client.open()
    await client.post(call("add", a=1, b=2), headers={"mcp-protocol-version": None})


async def deletes_its_session(client: Client) -> None:
    await client.open()
    await client.send("DELETE")
    await client.post(rpc("ping"))
    await client.send("DELETE")
    await client.send("GET")


async def deletes_without_a_session(client: Client) -> None:
    await client.send("DELETE")


async def deletes_an_unknown_session(client: Client) -> None:
    await client.send("DELETE", {"mcp-session-id": "unknown"})


async def listens_without_a_session(client: Client) -> None:
    await client.send("GET")


async def listens_in_an_unknown_session(client: Client) -> None:
    await client.send("GET", {"mcp-session-id": "unknown"})


async def listens_without_accepting_events(client: Client) -> None:
    await client.open()
    await client.send("GET", {"accept": "application/json"})


async def uses_a_method_that_is_not_served(client: Client) -> None:
    await client.open()
    await client.send("PUT")


async def accepts_no_events(client: Client) -> None:
    await client.open()
    await client.post(rpc("ping"), headers={"accept": "application/json"})


async def accepts_no_json(client: Client) -> None:
    await client.open()
    await client.post(rpc("ping"), headers={"accept": "text/event-stream"})


async def accepts_everything(client: Client) -> None:
    await client.open()
    await client.post(rpc("ping"), headers={"accept": "*/*"})


async def sends_text(client: Client) -> None:
    await client.open()
    await client.post(rpc("ping"), headers={"content-type": "text/plain"})


async def comes_for_another_host(client: Client) -> None:
    await client.post(_initialize(client.version), headers={"host": "evil.example"})


async def comes_from_another_origin(client: Client) -> None:
    await client.post(_initialize(client.version), headers={"origin": "http://evil.example"})


async def sends_too_much(client: Client) -> None:
    await client.post(raw=b" " * ((4 << 20) + 1))


async def sends_the_session_twice(client: Client) -> None:
    await client.open()
    await client.post(rpc("ping"), extra=[("mcp-session-id", "another")])


async def sends_the_version_twice(client: Client) -> None:
    await client.open()
    await client.post(rpc("ping"), extra=[("mcp-protocol-version", client.version)])


async def sends_the_content_type_twice(client: Client) -> None:
    await client.open()
    await client.post(rpc("ping"), extra=[("content-type", "text/plain")])


async def sends_the_routing_headers_of_its_call(client: Client) -> None:
    await client.open()
    await client.post(call("add", a=1, b=2), headers={"mcp-method": "tools/call", "mcp-name": "add"})
    await client.post(call("add", a=1, b=2), headers={"mcp-name": "=?base64?YWRk?="})
    await client.post(rpc("tools/list"), headers={"mcp-method": "tools/list", "mcp-name": "anything"})


async def sends_the_method_of_another_call(client: Client) -> None:
    await client.open()
    await client.post(call("add", a=1, b=2), headers={"mcp-method": "tools/list"})


async def sends_the_name_of_another_tool(client: Client) -> None:
    await client.open()
    await client.post(call("add", a=1, b=2), headers={"mcp-name": "echo"})


async def sends_the_address_of_another_resource(client: Client) -> None:
    await client.open()
    await client.post(rpc("resources/read", {"uri": "res://text"}), headers={"mcp-name": "res://other"})


async def initializes_by_another_method(client: Client) -> None:
    await client.post(_initialize(client.version), headers={"mcp-method": "ping"})
    _session_id(client)


async def notifies_by_another_method(client: Client) -> None:
    await client.open()
    await client.post(note("notifications/whatever"), headers={"mcp-method": "tools/call"})


async def sends_the_method_twice(client: Client) -> None:
    await client.open()
    await client.post(rpc("ping"), extra=[("mcp-method", "ping"), ("mcp-method", "ping")])


async def uses_one_id_again(client: Client) -> None:
    await client.open()
    for _ in range(3):
        await client.post(call("add", 7, a=1, b=2))


async def has_two_sessions(client: Client) -> None:
    other = Client(client.app, client.notes, client.version)
    await client.open()
    await other.open()
    client.transcript.append(f"sessions differ: {client.session != other.session}")
    await client.send("DELETE")
    await other.post(rpc("ping"))
    client.transcript += other.transcript


async def sees_itself(client: Client) -> None:
    await client.open()
    await client.post(call("who_calls", _meta={"x/y": 1}))


PLAYS = (
    handshake, asks_for_an_unknown_version, asks_for_the_modern_version, initializes_without_a_version, initializes_without_params,
    initializes_with_a_wrong_client, initializes_twice, calls_before_it_says_that_it_is_initialized, pings_before_anything,
    calls_before_anything, notifies_before_anything, calls_without_its_session, calls_in_an_unknown_session,
    initializes_in_an_unknown_session, calls_without_the_version_header, deletes_its_session, deletes_without_a_session,
    deletes_an_unknown_session, listens_without_a_session, listens_in_an_unknown_session, listens_without_accepting_events,
    uses_a_method_that_is_not_served, accepts_no_events, accepts_no_json, accepts_everything, sends_text, comes_for_another_host,
    comes_from_another_origin, sends_too_much, sends_the_session_twice, sends_the_version_twice,
    sends_the_content_type_twice, sends_the_routing_headers_of_its_call, sends_the_method_of_another_call, sends_the_name_of_another_tool,
    sends_the_address_of_another_resource, initializes_by_another_method, notifies_by_another_method, sends_the_method_twice,
    uses_one_id_again, has_two_sessions, sees_itself,
)  # fmt: skip

SCRIPTS = tuple(Script(f"a client {play.__name__.replace('_', ' ')}" if play is not handshake else "a handshake", play) for play in PLAYS)

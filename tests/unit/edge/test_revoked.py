"""What was begun with a key ends when the key is revoked, in every form that it can have; whoever has another key goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from moorage.security.api_keys import stored_line
from moorage.security.keyring import generate
from tests.comparison.wire import Exchange
from tests.unit.edge.conftest import Harbour, Start
from tests.unit.edge.test_sessions import begun, call, sse

pytestmark = pytest.mark.anyio

OLD, NEW, BOBS = (f"moor_{letter * 43}" for letter in "onb")
WITH_OLD, WITH_NEW, AS_BOB = ({"authorization": f"Bearer {token}"} for token in (OLD, NEW, BOBS))
ALL = [stored_line("alice", OLD), stored_line("alice", NEW), stored_line("bob", BOBS)]
ERROR = {"code": -32013, "message": "The API key that this was begun with is not valid any more"}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("\n".join(ALL))
    return path


def revoke_old(harbour: Harbour, keys: Path) -> None:
    """Take a line out, and have the process look as often as it does before it believes that."""
    keys.write_text("\n".join(ALL[1:]))
    source = harbour.app.state.key_source
    assert source.refresh() or source.refresh()


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not holds():
            await anyio.sleep(0)


async def finished(exchange: Exchange) -> Any:
    """The last message of an exchange, once it is over."""
    with anyio.fail_after(10):
        await exchange.finished()
    lines = [line[6:] for line in exchange.body.split(b"\r\n") if line.startswith(b"data: {")]
    return json.loads(lines[-1] if lines else exchange.body)


async def test_calls_of_both_eras_end_with_an_error_that_says_so_and_those_of_other_keys_go_on(start: Start, keys: Path) -> None:
    harbour = await start(security={"api_keys_file": str(keys)})
    session = await begun(harbour, WITH_OLD)
    ending = [harbour.modern("wait", WITH_OLD), harbour.legacy(session, call("wait", 2), WITH_OLD)]
    staying = [harbour.modern("wait", WITH_NEW), harbour.legacy(session, call("wait", 3), WITH_NEW), harbour.modern("wait", AS_BOB)]
    await until(lambda: harbour.app.state.service.budgets.calls == 5)
    revoke_old(harbour, keys)
    assert [(await finished(each))["error"] for each in ending] == [ERROR] * 2
    harbour.release.set()
    assert [(await finished(each))["result"]["content"][0]["text"] for each in staying] == ["released"] * 3


async def test_a_call_that_streams_ends_on_its_stream_and_its_question_with_it(start: Start, keys: Path) -> None:
    harbour = await start(security={"api_keys_file": str(keys)})
    session = await begun(harbour, WITH_OLD)
    asking = harbour.legacy(session, call("berth"), WITH_OLD)
    await sse(asking)
    revoke_old(harbour, keys)
    assert (await finished(asking))["error"] == ERROR
    assert harbour.app.state.service.budgets.questions.total == 0


async def test_streams_of_both_eras_end(start: Start, keys: Path) -> None:
    harbour = await start(security={"api_keys_file": str(keys)})
    session = await begun(harbour, WITH_OLD)
    get = harbour.open("GET", {"mcp-session-id": session, **WITH_OLD})
    await get.started()
    listen = harbour.modern("", WITH_OLD, "subscriptions/listen", notifications={"toolsListChanged": True})
    others = harbour.modern("", AS_BOB, "subscriptions/listen", notifications={"toolsListChanged": True})
    await until(lambda: harbour.app.state.service.open_streams == 3)
    revoke_old(harbour, keys)
    with anyio.fail_after(10):
        await get.finished()
    assert (await finished(listen))["error"] == ERROR
    assert harbour.app.state.service.open_streams == 1
    others.leave()
    await others.finished()


async def test_the_session_stays_for_another_key_of_its_principal(start: Start, keys: Path) -> None:
    harbour = await start(security={"api_keys_file": str(keys)})
    session = await begun(harbour, WITH_OLD)
    revoke_old(harbour, keys)
    refused = harbour.legacy(session, call("quick"), WITH_OLD)
    assert ((await finished(refused))["error"]["code"], refused.status) == (-32001, 401)
    served = harbour.legacy(session, call("quick"), WITH_NEW)
    assert (await finished(served))["result"]["content"][0]["text"] == "done"


async def test_a_key_that_is_revoked_while_the_body_comes_serves_nothing(start: Start, keys: Path) -> None:
    harbour = await start(security={"api_keys_file": str(keys)})
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    sent: list[dict[str, Any]] = []
    parts = [body[:10], body[10:]]

    async def receive() -> dict[str, Any]:
        if len(parts) == 1:
            revoke_old(harbour, keys)
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    head = {"host": "localhost", "content-type": "application/json", "accept": "*/*", **WITH_OLD}
    headers = [(name.encode(), value.encode()) for name, value in head.items()]
    await harbour.app({"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "server": ("127.0.0.1", 1)}, receive, send)
    assert sent[0]["status"] == 401


async def test_a_session_whose_sealing_key_was_retired_ends_with_its_streams_and_calls(start: Start, tmp_path: Path) -> None:
    sealing = tmp_path / "sealing"
    sealing.write_text(generate())
    harbour = await start(security={"sealing_keys_file": str(sealing)})
    session = await begun(harbour)
    get = harbour.open("GET", {"mcp-session-id": session})
    await get.started()
    waiting = harbour.legacy(session, call("wait"))
    await until(lambda: harbour.app.state.service.budgets.calls == 1)
    sealing.write_text(generate())
    assert (await finished(waiting))["error"]["message"] == "The session has ended"
    with anyio.fail_after(10):
        await get.finished()


async def test_a_process_takes_up_a_changed_file_by_itself_and_says_what_is_wrong_with_it(start: Start, keys: Path) -> None:
    harbour = await start(security={"api_keys_file": str(keys), "keys_grace_seconds": 0})
    waiting = harbour.modern("wait", WITH_OLD)
    await until(lambda: harbour.app.state.service.budgets.calls == 1)
    keys.unlink()
    assert (await finished(waiting))["error"] == ERROR
    fault = harbour.app.state.key_source.fault
    assert fault.startswith("cannot read the API keys in ")
    assert fault.endswith(": no key is valid")

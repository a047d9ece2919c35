"""`moorage serve` as the process that an operator starts, watches and ends."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.integration.serving import Legacy, Process, answer, appears, client, modern, probe, request, serving, started

pytestmark = pytest.mark.anyio


async def refused(server: Process) -> list[str]:
    """The lines of a start that is refused, less the log."""
    assert await server.exit_code(within=30) == 2
    await server.ended()
    return [line for line in server.lines if not line.startswith("{")]


@asynccontextmanager
async def port_taken() -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.parametrize("workers", ["1", "3"])
async def test_a_target_that_is_not_there_is_one_message_and_exit_2(workers: str) -> None:
    async with started(target="no_such_file.py", SERVER__WORKERS=workers) as server:
        said = await refused(server)
    assert said[0].startswith("moorage: error: there is no file no_such_file.py")
    assert len(said) == 2
    assert said[1].startswith("  ")
    assert "Traceback" not in server.log
    assert [event for event in server.events() if event["level"] == "error"] == []


async def test_a_public_port_that_is_taken_is_one_message_and_exit_2() -> None:
    async with port_taken() as port, started(SERVER__PORT=str(port)) as server:
        said = await refused(server)
    assert f"cannot listen on 127.0.0.1:{port} (server.host, server.port): another process listens there" in said[0]
    assert len(said) == 2


async def test_an_admin_port_that_is_taken_is_one_message_and_exit_2() -> None:
    async with port_taken() as port, started(ADMIN__PORT=str(port)) as server:
        said = await refused(server)
    assert f"cannot listen on 127.0.0.1:{port} (admin.host, admin.port): another process listens there" in said[0]
    assert len(said) == 2
    assert "Traceback" not in server.log


async def test_a_fault_nobody_foresaw_keeps_its_traceback_and_does_not_start_over_and_over(tmp_path: Path) -> None:
    target = tmp_path / "faulty.py"
    target.write_text(
        "from mcp.server.mcpserver import MCPServer\n"
        "from contextlib import asynccontextmanager\n"
        "@asynccontextmanager\n"
        "async def lifespan(server):\n"
        "    raise RuntimeError('the database is not there')\n"
        "    yield\n"
        "mcp = MCPServer('faulty', lifespan=lifespan)\n"
    )
    async with started(target=target) as server:
        assert await server.exit_code(within=30) != 0
        await server.ended()
    assert server.log.count("the database is not there") >= 1


async def test_nothing_is_written_to_the_home_folder(tmp_path: Path) -> None:
    async with serving(plain_HOME=str(tmp_path), plain_XDG_RUNTIME_DIR=str(tmp_path)) as server, client() as http:
        assert await probe(http, server, "readyz") == 200
    assert list(tmp_path.iterdir()) == []


async def test_a_worker_that_dies_is_replaced() -> None:
    async with serving(ADMIN__PORT="0") as server:
        (first,) = server.workers()
        async with client() as http:
            await Legacy.begin(http, server.url)
        since = len(server.lines)
        os.kill(first, signal.SIGKILL)
        await server.logged(lambda line: '"serving.ready"' in line, since)
        (second,) = server.workers()
        assert second != first
        async with client() as http:
            await Legacy.begin(http, server.url)


async def test_a_worker_whose_ticker_fails_starts_it_again_and_serves_on() -> None:
    async with serving(target=Path(__file__).with_name("failing_inside.py")) as server, client() as http:
        [before] = server.workers()
        body, headers = modern("tools/call", {"name": "breaks", "arguments": {"what": "ticker"}})
        await http.post(f"{server.url}/mcp", json=body, headers=headers)
        line = await server.logged(lambda line: "background.failed" in line)
        assert (json.loads(line)["task"], "the ticker fails" in line) == ("call-ticker", True)
        ready = await http.get(f"{server.admin}/readyz?verbose")
        assert ready.status_code == 200
        assert "[!]background: call-ticker failed (RuntimeError, 1 in all): started again; see the log" in ready.text
        assert 'moorage_background_faults_total{moorage_task="call-ticker"} 1' in (await http.get(f"{server.admin}/metrics")).text
        assert answer(await http.post(f"{server.url}/mcp", json=body, headers=headers))["result"]
        assert server.workers() == [before]


async def test_a_worker_whose_lifespan_fails_while_it_serves_ends_and_is_replaced() -> None:
    async with serving(target=Path(__file__).with_name("failing_inside.py")) as server:
        [before] = server.workers()
        seen = len(server.lines)
        body, headers = modern("tools/call", {"name": "breaks", "arguments": {"what": "lifespan"}})
        async with client() as http:
            await http.post(f"{server.url}/mcp", json=body, headers=headers)
        await server.logged(lambda line: "serving.failed" in line, seen)
        await server.logged(lambda line: "serving.ready" in line, seen)
        [after] = server.workers()
    assert after != before


async def test_workers_do_not_outlive_a_master_that_is_killed() -> None:
    async with serving(SERVER__WORKERS="2") as server:
        await server.all_ready(2)
        workers = server.workers()
        os.kill(server.pid, signal.SIGKILL)
        with anyio.fail_after(10):
            while any(Path(f"/proc/{pid}").exists() for pid in workers):
                await asyncio.sleep(0.01)


async def test_a_hang_up_drains_and_ends_the_service(tmp_path: Path) -> None:
    async with serving() as server, client() as http:
        body, headers = modern("tools/call", {"name": "wait_for", "arguments": {"path": str(tmp_path / "go-on")}})
        call = asyncio.create_task(http.post(f"{server.url}/mcp", json=body, headers=headers))
        await appears(tmp_path / "go-on.begun")
        server.signal(signal.SIGHUP)
        await server.logged(lambda line: '"drain.begun"' in line)
        (tmp_path / "go-on").touch()
        assert answer(await call)["result"]["content"][0]["text"] == "it appeared"
        assert await server.exit_code(within=10) == 0


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2])
async def test_signals_that_would_change_the_service_at_run_time_are_refused_in_the_log(number: signal.Signals) -> None:
    async with serving() as server, client() as http:
        before = server.workers()
        server.signal(number)
        await server.logged(lambda line: '"signal.ignored"' in line and number.name in line)
        assert server.workers() == before
        assert await probe(http, server, "readyz") == 200


async def test_gunicorn_is_not_configured_behind_our_back() -> None:
    async with serving(plain_GUNICORN_CMD_ARGS="--workers 3", plain_WEB_CONCURRENCY="3") as server:
        assert len(server.workers()) == 1


async def test_several_workers_serve_one_port_and_each_says_so() -> None:
    async with serving(SERVER__WORKERS="2", ADMIN__PORT=str(free_port())) as server, client() as http:
        await server.all_ready(2)
        assert await probe(http, server, "readyz") == 200
        body, headers = modern("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
        for _ in range(8):
            assert answer(await http.post(f"{server.url}/mcp", json=body, headers={**headers, "connection": "close"}))["result"]
        server.signal(signal.SIGTERM)
        assert await server.exit_code(within=10) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def test_idle_connections_do_not_hold_up_the_end() -> None:
    async with serving(DRAIN__BUDGET_SECONDS="600") as server, client() as http:
        session = await Legacy.begin(http, server.url)
        await session.post(request("ping"))
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /mcp HTTP/1.1\r\n")
        server.signal(signal.SIGTERM)
        assert await server.exit_code(within=10) == 0
        assert await reader.read() == b""
        writer.close()


async def test_dev_takes_up_a_change_and_survives_one_that_does_not_work(tmp_path: Path) -> None:
    target = tmp_path / "mine.py"

    def write(answer_to_all: str) -> None:
        target.write_text(
            "from mcp.server.mcpserver import MCPServer\n"
            "mcp = MCPServer('mine')\n"
            "@mcp.tool()\n"
            f"async def ask() -> str:\n    return {answer_to_all}\n"
        )
        os.utime(target, ns=(stamp := target.stat().st_mtime_ns + 10**9 * len(written), stamp))
        written.append(answer_to_all)

    async def ask() -> str:
        body, headers = modern("tools/call", {"name": "ask", "arguments": {}})
        response = await http.post(f"{server.url}/mcp", json=body, headers={**headers, "connection": "close"})
        return answer(response)["result"]["content"][0]["text"]

    written: list[str] = []
    write("'one'")
    async with serving("dev", target=target) as server, client() as http:
        assert await ask() == "one"
        since = len(server.lines)
        write("'two' +")
        await server.logged(lambda line: "start.refused" in line, since)
        write("'two'")
        await server.logged(lambda line: "serving.ready" in line, since)
        assert await ask() == "two"
        server.signal(signal.SIGTERM)
        assert await server.exit_code(within=10) == 0
        assert "Traceback" not in server.log

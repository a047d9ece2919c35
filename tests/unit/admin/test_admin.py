"""The admin port answers probes, metrics and version, whatever the public port is busy with."""

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator

import anyio
import httpx2 as httpx
import pytest

from moorage import __version__
from moorage.admin.probes import AdminApp, about
from moorage.edge.http import BoundedProtocol
from moorage.errors import SettingsError
from moorage.lifecycle.phase import Lifecycle
from moorage.lifecycle.side_server import SideServer
from moorage.security.hosts import HostPolicy

pytestmark = pytest.mark.anyio


def render(accept: str) -> tuple[str, bytes]:
    if "openmetrics" in accept:
        return "application/openmetrics-text; version=1.0.0; charset=utf-8", b"# EOF\n"
    return "text/plain; version=0.0.4; charset=utf-8", b"up 1\n"


def app(lifecycle: Lifecycle, **more: object) -> AdminApp:
    given: dict[str, object] = {"render": render, "about": about("demo", "1.2.3"), **more}
    return AdminApp(lifecycle, **given)  # type: ignore[arg-type]


async def get(server: SideServer, path: str, **headers: str) -> httpx.Response:
    host, port = server.address
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=5) as client:
        return await client.get(path, headers=headers)


async def test_readiness_follows_the_phase_and_liveness_does_not() -> None:
    lifecycle = Lifecycle()
    seen: list[tuple[int, int, int]] = []

    async def ask(server: SideServer) -> None:
        answers = [await get(server, path) for path in ("/startupz", "/readyz", "/livez")]
        seen.append((answers[0].status_code, answers[1].status_code, answers[2].status_code))

    async with SideServer("admin", "127.0.0.1", [0], app(lifecycle)) as server:
        await ask(server)
        lifecycle.ready()
        await ask(server)
        lifecycle.begin_drain()
        await ask(server)
    assert seen == [(503, 503, 200), (200, 200, 200), (200, 503, 200)]


async def test_a_failing_probe_says_which_check_failed_and_why() -> None:
    lifecycle = Lifecycle()
    lifecycle.ready()
    lifecycle.begin_drain()
    async with SideServer("admin", "127.0.0.1", [0], app(lifecycle, checks={"keys": lambda: None})) as server:
        answer = await get(server, "/readyz")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "[-]phase failed: draining\n[+]keys ok\nreadyz check failed\n"


async def test_a_probe_that_passes_lists_its_checks_when_asked_to() -> None:
    lifecycle = Lifecycle()
    lifecycle.ready()
    async with SideServer("admin", "127.0.0.1", [0], app(lifecycle, checks={"keys": lambda: None})) as server:
        assert (await get(server, "/readyz")).text == "ok\n"
        assert (await get(server, "/readyz?verbose")).text == "[+]phase ok\n[+]keys ok\nreadyz check passed\n"


async def test_a_check_that_raises_fails_readiness_and_nothing_else() -> None:
    def broken() -> str | None:
        raise RuntimeError("secret detail")

    lifecycle = Lifecycle()
    lifecycle.ready()
    async with SideServer("admin", "127.0.0.1", [0], app(lifecycle, checks={"keys": broken})) as server:
        ready, live = await get(server, "/readyz"), await get(server, "/livez")
    assert (ready.status_code, live.status_code) == (503, 200)
    assert "secret detail" not in ready.text


async def test_metrics_come_in_the_format_the_scraper_accepts() -> None:
    async with SideServer("admin", "127.0.0.1", [0], app(Lifecycle())) as server:
        plain = await get(server, "/metrics", accept="text/plain")
        openmetrics = await get(server, "/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert (plain.headers["content-type"], plain.content) == ("text/plain; version=0.0.4; charset=utf-8", b"up 1\n")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")


async def test_metrics_that_cannot_be_written_are_a_500_without_the_reason() -> None:
    def broken(_accept: str) -> tuple[str, bytes]:
        raise RuntimeError("secret detail")

    async with SideServer("admin", "127.0.0.1", [0], app(Lifecycle(), render=broken)) as server:
        answer = await get(server, "/metrics")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text


async def test_version_names_what_runs() -> None:
    async with SideServer("admin", "127.0.0.1", [0], app(Lifecycle())) as server:
        document = (await get(server, "/version")).json()
    assert document["moorage"] == __version__
    assert document["server"] == {"name": "demo", "version": "1.2.3"}
    assert set(document) == {"moorage", "mcp", "python", "server"}


async def test_any_host_is_answered_because_the_kubelet_asks_by_pod_address() -> None:
    async with SideServer("admin", "127.0.0.1", [0], app(Lifecycle())) as server:
        assert (await get(server, "/livez", host="10.1.2.3:9090")).status_code == 200


async def test_unknown_paths_and_methods_are_refused_in_words() -> None:
    async with SideServer("admin", "127.0.0.1", [0], app(Lifecycle())) as server:
        host, port = server.address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=5) as client:
            unknown, posted, head = await client.get("/healthz"), await client.post("/livez"), await client.head("/livez")
    assert unknown.status_code == 404
    assert "/livez" in unknown.text
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD")
    assert (head.status_code, head.content) == (200, b"")


async def test_a_port_that_is_taken_is_refused_naming_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port} .*admin.port.*another process listens there"):
            async with SideServer("admin", "127.0.0.1", [port], app(Lifecycle())):
                raise AssertionError("listens on a port that is taken")


async def test_an_address_that_is_not_of_this_machine_is_refused_naming_the_setting() -> None:
    with pytest.raises(SettingsError, match=r"192.0.2.1:9090 .*admin.host"):
        async with SideServer("admin", "192.0.2.1", [9090], app(Lifecycle())):
            raise AssertionError("listens on another machine's address")


async def test_workers_can_share_the_port() -> None:
    async with (
        SideServer("admin", "127.0.0.1", [0], app(Lifecycle()), share_port=True) as first,
        SideServer("admin", "127.0.0.1", [first.address[1]], app(Lifecycle()), share_port=True) as second,
    ):
        assert second.address == first.address


async def test_after_its_end_nothing_listens_any_more_even_if_a_client_stays_connected() -> None:
    with anyio.fail_after(5):
        async with SideServer("admin", "127.0.0.1", [0], app(Lifecycle())) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        with pytest.raises(OSError):
            await asyncio.open_connection(*server.address)
        writer.close()


class LoopInAThread:
    """A worker's event loop as the kubelet sees it: from outside."""

    def __init__(self) -> None:
        self.address: tuple[str, int] = ("", 0)
        self.loop = asyncio.new_event_loop()
        self._up, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._up.wait(5)

    async def _serve(self) -> None:
        async with SideServer("admin", "127.0.0.1", [0], app(Lifecycle())) as server:
            self.address = server.address
            self._up.set()
            await self._stop.wait()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        self.loop.close()

    def live(self, seconds: float) -> bool:
        connection = http.client.HTTPConnection(*self.address, timeout=seconds)
        try:
            connection.request("GET", "/livez")
            return connection.getresponse().status == 200
        except TimeoutError:
            return False
        finally:
            connection.close()


@pytest.fixture
def worker() -> Iterator[LoopInAThread]:
    it = LoopInAThread()
    yield it
    it.close()


def test_a_blocked_event_loop_fails_liveness_until_it_turns_again(worker: LoopInAThread) -> None:
    blocked, let_go = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        let_go.wait(10)

    assert worker.live(5)
    worker.loop.call_soon_threadsafe(block)
    assert blocked.wait(5)
    try:
        assert not worker.live(0.3)
    finally:
        let_go.set()
    assert worker.live(5)


@pytest.mark.parametrize(
    "host",
    ["localhost:9090", "127.0.0.1", "10.244.0.7:9090", "[fd00::7]:9090", "[::1]", "web-moorage-admin.prod.svc", "api.example.com:443"],
)
async def test_who_asks_for_an_address_or_a_name_that_was_given_is_answered(host: str) -> None:
    hosts = HostPolicy(["web-moorage-admin.prod.svc", "api.example.com"], addresses=True)
    async with SideServer("admin", "127.0.0.1", [0], app(Lifecycle(), hosts=hosts)) as server:
        assert (await get(server, "/livez", host=host)).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/metrics", "/version", "/nowhere"])
@pytest.mark.parametrize("host", ["rebound.example.com", "10.0.0.7.example.com", "localhost.example.com", "1.2.3", "[fd00::7", "a b", ""])
async def test_who_asks_for_another_name_is_answered_421(path: str, host: str) -> None:
    async with SideServer("admin", "127.0.0.1", [0], app(Lifecycle())) as server:
        answer = await get(server, path, host=host)
    assert (answer.status_code, "admin.allowed_hosts" in answer.text) == (421, True)


async def test_every_name_that_was_asked_for_has_to_be_served() -> None:
    async with SideServer("admin", "127.0.0.1", [0], app(Lifecycle())) as server:
        for fields, status in (([], b"200"), ([b"localhost", b"rebound.example"], b"421"), ([b"rebound.example", b"localhost"], b"421")):
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"GET /livez HTTP/1.0\r\n" + b"".join(b"host: " + name + b"\r\n" for name in fields) + b"\r\n")
            assert (await reader.readline()).split()[1] == status, fields
            writer.close()
            await writer.wait_closed()


async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    closed = asyncio.Event()

    class Hasty(BoundedProtocol):
        write_timeout_seconds = 0.05

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            closed.set()

    many = app(Lifecycle(), render=lambda _: ("text/plain", b"metric 1\n" * 4_000_000))
    async with SideServer("admin", "127.0.0.1", [0], many, http=Hasty) as server:
        with socket.create_connection(server.address) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
            with anyio.fail_after(5):
                await closed.wait()

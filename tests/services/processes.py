"""Starting, watching and ending other programs; the base of every service here.

A program is ended by its own id, with all that it started. A wait for another process has no event to wait on, so it looks again and
again, within a bound.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, Self

import anyio.to_thread

ROOT: Final = Path(__file__).resolve().parents[2]
LOOPBACK: Final = "127.0.0.1"
START_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.01
_LOWEST_PORT: Final = 10_240
_chance = random.SystemRandom()


class ServiceError(Exception):
    """A service cannot be had, or did not become what it was asked to become."""


class Service(ABC):
    """Something that runs from the beginning of a `with` or an `async with` to its end."""

    @abstractmethod
    def start(self) -> None:
        """Run it, and return when it can be used.

        Raises:
            ServiceError: It cannot be run; nothing of it is left.
        """

    @abstractmethod
    def stop(self) -> None:
        """Leave nothing of it, whatever state it is in; harmless when repeated."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await anyio.to_thread.run_sync(self.__enter__)

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)


class Program(Service):
    """One process with a folder of its own, which is gone afterwards; what the process prints is `log`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"moorage-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the process, which must have been started."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, command: Sequence[str | Path]) -> None:
        """Start the process; what it printed before stays in the log."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([str(part) for part in command], cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)

    def wait_until(self, condition: Callable[[], object], becomes: str, within: float = START_SECONDS) -> None:
        """Look until the condition holds; an `OSError` of it counts as no."""

        def holds() -> bool:
            if not self.running:
                raise ServiceError(f"{self.name} ended with {self._status()} before it was {becomes}:\n{self.log[-3000:]}")
            return bool(condition())

        until(holds, f"{self.name} is {becomes}", within, lambda: self.log[-3000:])

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} was not started"
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Let it do nothing until `resume`; its sockets stay open (SIGSTOP)."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _status(self) -> int | None:
        return None if self._process is None else self._process.returncode


def until(condition: Callable[[], object], what: str, within: float, told: Callable[[], str] = str) -> None:
    """Look until a condition holds; an `OSError` of it counts as no.

    Raises:
        ServiceError: It did not hold in time; with what `told` says then.
    """
    deadline = time.monotonic() + within
    while True:
        with suppress(OSError):
            if condition():
                return
        if time.monotonic() >= deadline:
            raise ServiceError(f"not within {within:g} s: {what}\n{told()}".rstrip())
        time.sleep(_LOOK_SECONDS)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now, and that no other test process of this user gets while this one runs.

    They lie below those that the system gives to outgoing connections: a port stays free for whoever is killed and started again.
    """
    highest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]) - 1
    found: list[int] = []
    while len(found) < count:
        port = _chance.randint(_LOWEST_PORT, highest)
        if port not in found and _claim(port) and _is_free(port):
            found.append(port)
    return found


def accepts(port: int) -> bool:
    """Tell whether somebody accepts connections on a port of the loopback address."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def program(name: str, package: str) -> Path:
    """Where a program is, in PATH or where Debian has servers.

    Raises:
        ServiceError: It is not installed.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    if found is None:
        raise ServiceError(f"{name} is not installed: apt-get install {package}")
    return Path(found)


def descendants(pid: int) -> list[int]:
    """A process and all that it and its children started, parents first; those that ended meanwhile are left out."""
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop(0))
        with suppress(OSError):
            queue += [int(child) for child in Path(f"/proc/{found[-1]}/task/{found[-1]}/children").read_text().split()]
    return found


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all that it started, none of which can start another meanwhile; returns when they are gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    found = descendants(pid)
    for each in found:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    for each in found[1:]:
        until(lambda each=each: _is_gone(each), f"process {each} is gone", within=10)


def _is_gone(pid: int) -> bool:
    """A process that nobody has asked for its status counts as gone, once its last thread is: until then its sockets are open."""
    try:
        ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return ended and len(os.listdir(f"/proc/{pid}/task")) == 1
    except OSError:
        return True


def _claim(port: int) -> bool:
    """Whether a port is ours until this process ends: between a choice and its listener another run of tests would choose it, too."""
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)  # one byte of the file for each port
    except OSError:
        return False
    return True


@cache
def _claims() -> int:
    return os.open(Path(tempfile.gettempdir()) / f"moorage-test-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((LOOPBACK, port))
        except OSError:
            return False
    return True

"""Replicas of the service as real processes that share a sealing key, and a store if one is named."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import redis

from moorage.security.keyring import SealingKeys
from moorage.store.seals import PURPOSE, Seals
from tests.services.haproxy import Backend
from tests.services.processes import LOOPBACK, ROOT, START_SECONDS, Service, ServiceError, descendants, free_ports, kill_tree

_SKEWED_CLOCK: Final = Path(__file__).with_name("skewed_clock")
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def sealing_key() -> str:
    """A new key, as `moorage keys sealing` prints one."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def environment(target: Path | str, **settings: str) -> dict[str, str]:
    """The variables of a server on free ports; whatever this process's own environment says about moorage is left out.

    `SECTION__FIELD` is a setting; `plain_NAME` is the variable NAME.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MOORAGE_", "OTEL_"))}
    ours = {"TARGET": str(target), "SERVER__PORT": "0", "ADMIN__PORT": "0", "LOGS__FORMAT": "json", **settings}
    return inherited | {
        name.removeprefix("plain_") if name.startswith("plain_") else f"MOORAGE_{name}": value for name, value in ours.items()
    }


class Replica(Service):
    """One `moorage serve` with a public and an admin port that it keeps over every restart; `lines` is what it has written."""

    def __init__(self, number: int, variables: Mapping[str, str]) -> None:
        self.number = number
        self.port, self.admin_port = free_ports(2)
        ports = {"MOORAGE_SERVER__PORT": str(self.port), "MOORAGE_ADMIN__PORT": str(self.admin_port), "MOORAGE_RELAY__PORT": "0"}
        self.variables = {**variables, **ports}
        self.lines: list[str] = []
        self._grown = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The public address, without a path."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://{LOOPBACK}:{self.admin_port}"

    @property
    def backend(self) -> Backend:
        return Backend(self.port, self.admin_port)

    @property
    def pid(self) -> int:
        """The process that was started: gunicorn's master."""
        assert self._process is not None, f"replica {self.number} was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def workers(self) -> list[int]:
        """The process ids of the workers, while the master lives."""
        return descendants(self.pid)[1:]

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """What was logged as JSON, from the line `since` on."""
        return [json.loads(line) for line in self.lines[since:] if line.startswith("{")]

    def logged(self, condition: Callable[[str], object], since: int = 0, within: float = START_SECONDS) -> str:
        """Wait for a line, from the line `since` on, and return it."""
        deadline = time.monotonic() + within
        with self._grown:
            while True:
                for line in self.lines[since:]:
                    if condition(line):
                        return line
                if not self._grown.wait(max(0.0, deadline - time.monotonic())):
                    raise ServiceError(f"replica {self.number} did not log it within {within:g} s:\n{self.log[-3000:]}")

    def begin(self) -> None:
        """Start it, without waiting for it to be ready."""
        command = [sys.executable, "-m", "moorage", "serve"]
        self._process = subprocess.Popen(command, cwd=ROOT, env=self.variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def start(self) -> None:
        self.begin()
        self.wait_ready()

    def is_ready(self) -> bool:
        """What `/readyz` says now; no when nobody answers."""
        try:
            with _direct.open(f"{self.admin_url}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:  # HTTPError, with the status of one that is not ready, is one too
            return False

    def wait_ready(self, within: float = START_SECONDS) -> None:
        """Wait until it is ready.

        Raises:
            ServiceError: It ended, or took too long.
        """
        deadline = time.monotonic() + within
        while not self.is_ready():
            if not self.running:
                raise ServiceError(f"replica {self.number} ended with {self.exited(within=0)} before it was ready:\n{self.log[-3000:]}")
            if time.monotonic() >= deadline:
                raise ServiceError(f"replica {self.number} was not ready within {within:g} s:\n{self.log[-3000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL the master and every worker, so that nothing comes back by itself; returns when they are gone."""
        if self._process is not None and self._process.poll() is None:
            kill_tree(self._process.pid)
            self._process.wait()

    def terminate(self) -> None:
        """Ask it to end (SIGTERM), and return at once; `exited` waits."""
        assert self._process is not None, f"replica {self.number} was not started"
        self._process.send_signal(signal.SIGTERM)

    def exited(self, within: float = START_SECONDS) -> int:
        """Wait for its end and all it wrote, and return its status."""
        assert self._process is not None, f"replica {self.number} was not started"
        assert self._reader is not None
        try:
            status = self._process.wait(within)
        except subprocess.TimeoutExpired as expired:
            raise ServiceError(f"replica {self.number} did not end within {within:g} s:\n{self.log[-3000:]}") from expired
        self._reader.join(10)
        return status

    def restart(self) -> None:
        """Start it again on the same ports; it is killed first if it runs."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Let all of it do nothing until `resume`; its sockets stay open (SIGSTOP)."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal_all(signal.SIGCONT)

    def stop(self) -> None:
        """End it gracefully if it takes no longer than ten seconds, else kill it."""
        if self.running:
            self.resume()
            self.terminate()
        try:
            if self._process is not None:
                self.exited(within=10)
        except ServiceError:
            self.kill()

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in descendants(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                with self._grown:
                    self.lines.append(line.decode(errors="replace").rstrip("\n"))
                    self._grown.notify_all()


class Fleet(Service):
    """Replicas of one deployment.

    Args:
        target: What is served, as `moorage serve` takes it; relative to the repository.
        size: How many.
        store_url: The store of all of them; none when not given.
        store_urls: The store of single replicas instead, by number: the way over a `Partition`.
        settings: Settings of all of them, `{"SESSIONS__LEASE_SECONDS": "2"}`.
        settings_of: Settings of single replicas beside them, by number.
        variables: Other environment variables of all of them.
        clock_skew_seconds: By how much the wall clock of a replica is fast, by number; clocks that only measure stay true.
    """

    def __init__(
        self,
        target: Path | str,
        *,
        size: int = 3,
        store_url: str | None = None,
        store_urls: Mapping[int, str] | None = None,
        settings: Mapping[str, str] | None = None,
        settings_of: Mapping[int, Mapping[str, str]] | None = None,
        variables: Mapping[str, str] | None = None,
        clock_skew_seconds: Mapping[int, float] | None = None,
    ) -> None:
        self.sealing_key = sealing_key()
        shared = {"SECURITY__SEALING_KEYS": self.sealing_key, "SERVER__REPLICAS": str(size), **(settings or {})}
        self.replicas: list[Replica] = []
        for number in range(size):
            own = dict((settings_of or {}).get(number, {}))
            if url := (store_urls or {}).get(number, store_url):
                own["STORE__URL"] = url
            told = environment(target, **{**shared, **own}) | dict(variables or {})
            self.replicas.append(Replica(number, told | _skew(told, (clock_skew_seconds or {}).get(number, 0))))

    def __getitem__(self, number: int) -> Replica:
        return self.replicas[number]

    def __len__(self) -> int:
        return len(self.replicas)

    @property
    def backends(self) -> list[Backend]:
        """The replicas as `RoundRobin` takes them."""
        return [replica.backend for replica in self.replicas]

    @property
    def log(self) -> str:
        """What all of them wrote, one after the other."""
        return "\n".join(f"--- replica {replica.number}\n{replica.log}" for replica in self.replicas)

    def start(self) -> None:
        for replica in self.replicas:
            replica.begin()
        self.ready()

    def stop(self) -> None:
        for replica in self.replicas:
            if replica.running:
                replica.resume()
                replica.terminate()
        for replica in self.replicas:
            replica.stop()

    def ready(self, within: float = START_SECONDS) -> None:
        """Wait until all of them are."""
        for replica in self.replicas:
            replica.wait_ready(within)

    def kill(self, number: int) -> None:
        """SIGKILL one, workers and master."""
        self.replicas[number].kill()

    def restart(self, number: int) -> None:
        """Start one again on its ports."""
        self.replicas[number].restart()

    def terminate(self, number: int) -> None:
        """Ask one to end, and return at once."""
        self.replicas[number].terminate()


def _skew(variables: Mapping[str, str], seconds: float) -> dict[str, str]:
    if not seconds:
        return {}
    path = os.pathsep.join(filter(None, (str(_SKEWED_CLOCK), variables.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "CLOCK_SKEW_SECONDS": str(seconds)}


def addresses_of(keys: redis.Redis, prefix: str, sealing_key: str) -> dict[str, str]:
    """The owners that the store knows at a prefix, each with the address of its relay door; `keys` gives text."""
    seals = Seals(SealingKeys.parse(sealing_key).sealer(PURPOSE))
    owners = {key.partition("{")[2].rstrip("}"): str(keys.get(key)) for key in keys.scan_iter(f"{prefix}:*:owner:*")}
    return {owner: seals.address(owner, entry.encode()) or "" for owner, entry in owners.items()}

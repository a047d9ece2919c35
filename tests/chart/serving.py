"""A real `moorage serve` on a free port, as the image runs it."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens."""

    port: int


@contextmanager
def serving(target: Path, token: str = "") -> Iterator[Server]:
    """Serve a target until the block ends; with a token, nobody else may call."""
    port, admin = _free_port(), _free_port()
    with tempfile.TemporaryDirectory() as scratch:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("MOORAGE_", "OTEL_"))}
        if token:
            keys = Path(scratch) / "api-keys"
            keys.write_text(f"default:{hashlib.sha256(token.encode()).hexdigest()}\n")
            environ["MOORAGE_SECURITY__API_KEYS_FILE"] = str(keys)
        command = [sys.executable, "-m", "moorage", "serve", str(target), "--port", str(port), "--admin-port", str(admin)]
        log = Path(scratch) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
            try:
                _wait_until_ready(admin, process, log)
                yield Server(port)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_ready(admin: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=2).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)  # polls an event of another process
        else:
            return
    raise AssertionError(f"moorage serve did not become ready:\n{log.read_text()}")

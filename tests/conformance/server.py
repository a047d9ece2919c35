"""`moorage serve` with the conformance target, as a process of its own on free ports."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TARGET: Final = "tests.conformance.target:server"
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0


class ServerError(Exception):
    """The server did not start or did not stop as it should."""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving(log: Path) -> Iterator[str]:
    """Serve the target; gives the endpoint's URL, and insists on a clean exit."""
    port, admin_port = _free_port(), _free_port()
    command = [sys.executable, "-m", "moorage", "serve", TARGET, "--port", str(port), "--admin-port", str(admin_port)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{admin_port}/readyz", log)
            yield f"http://127.0.0.1:{port}/mcp"
            process.terminate()
            if (status := process.wait(STOP_SECONDS)) != 0:
                raise ServerError(f"the server exited with status {status} after SIGTERM; its log is {log}")
        except subprocess.TimeoutExpired as expired:
            raise ServerError(f"the server was still there {STOP_SECONDS:.0f} s after SIGTERM; its log is {log}") from expired
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"the server exited with status {process.returncode} before it was ready:\n{log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise ServerError(f"the server was not ready within {START_SECONDS:.0f} s; its log is {log}")

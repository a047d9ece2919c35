"""The examples as a user runs them: `moorage serve` in a process of its own, on ports that are free."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def clean_environ() -> dict[str, str]:
    """The environment without what would change how an example behaves."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MOORAGE_", "OTEL_", "TAVILY_"))}


@contextlib.contextmanager
def served(target: str, environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve a target with `moorage serve` until the block ends; yields the URL of its endpoint."""
    port, admin_port = free_ports(2)
    environ = {**clean_environ(), "MOORAGE_SERVER__PORT": str(port), "MOORAGE_ADMIN__PORT": str(admin_port), **(environ or {})}
    command = [str(Path(sys.executable).with_name("moorage")), "serve", target]
    with running(command, environ, admin_port):
        yield f"http://127.0.0.1:{port}/mcp"


@contextlib.contextmanager
def running(command: list[str], environ: Mapping[str, str], admin_port: int) -> Iterator[subprocess.Popen[str]]:
    """Run a server until the block ends, and wait until it is ready; what it printed is shown if it does not get there."""
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{admin_port}/readyz")
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


def _wait_until_ready(process: subprocess.Popen[str], url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the server ended before it was ready:\n{process.communicate()[0]}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)  # there is no event to wait on: the server is another process
    raise AssertionError(f"{url} was not ready within {_START_SECONDS} s")

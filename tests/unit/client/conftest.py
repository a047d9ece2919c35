"""Real servers on loopback for the client to talk to: uvicorn in a thread, and sockets that answer badly on purpose."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

Serve = Callable[[Any], str]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _Server(uvicorn.Server):
    """A uvicorn server that says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@contextlib.contextmanager
def serving(app: Any, port: int = 0) -> Iterator[str]:
    """Serve an ASGI application from a thread; yields the URL of its /mcp."""
    listener = socket.create_server(("127.0.0.1", port))
    server = _Server(uvicorn.Config(app, ws="none", log_level="critical", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        assert server.listening.wait(20), "the test server did not start"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve an ASGI application until the test ends; returns the URL of its /mcp."""
    with contextlib.ExitStack() as stack:
        yield lambda app: stack.enter_context(serving(app))

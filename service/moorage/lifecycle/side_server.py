"""The admin listener: a second, small server on the event loop of the worker.

Owns the socket and the server's life. It shares the loop with the public port on purpose: a loop that is blocked there
answers no liveness probe here. It installs no signal handlers, since the public server owns the process, and as a context
manager that is entered first it stops last, so that probes are answered through the whole drain.

With several workers each one listens on the same port (SO_REUSEPORT), and the kernel hands every connection to one of
them: a probe or a scrape of /metrics then speaks of one worker, not of all. One worker a pod keeps that simple.
"""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Any, Final, Self

import uvicorn

from moorage.lifecycle.listeners import Listener

_LAST_CONNECTIONS_SECONDS: Final = 1
_BACKLOG: Final = 64


class AdminServer:
    """Serves `app` on `host`:`port` for as long as the context lasts.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        app: The ASGI app to serve.
        share_port: Let other workers of this service listen on the same port.
    """

    def __init__(self, host: str, port: int, app: Any, *, share_port: bool = False) -> None:
        self._listener = Listener("admin", host, port, _BACKLOG, shared=share_port)
        self._server = uvicorn.Server(_config(app))
        self._socket: socket.socket | None = None
        self._main: asyncio.Task[None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on; the port asked for may have been 0."""
        if self._socket is None:
            return self._listener.host, self._listener.port
        host, port = self._socket.getsockname()[:2]
        return host, port

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            SettingsError: The address cannot be listened on.
        """
        self._socket = self._listener.open()
        server = self._server
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[self._socket])
        self._main = asyncio.create_task(server.main_loop(), name="admin")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop listening and give open connections a last second."""
        if self._main is None or self._socket is None:
            return
        self._server.should_exit = True
        self._main.cancel()
        await asyncio.wait({self._main}, timeout=_LAST_CONNECTIONS_SECONDS)
        await self._server.shutdown(sockets=[self._socket])


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_LAST_CONNECTIONS_SECONDS,
    )

"""A second, small server on the event loop of the worker: the admin port, and the relay door.

Owns the socket and the server's life. It shares the loop with the public port on purpose: a loop that is blocked there
answers no liveness probe here. It installs no signal handlers, since the public server owns the process, and as a context
manager that is entered first it stops last, so that probes are answered through the whole drain.

With several workers each one either listens on the same port (SO_REUSEPORT), and the kernel hands every connection to one of
them, so that a probe or a scrape of /metrics speaks of one worker, not of all; or each takes the next free port for itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import uvicorn

from moorage.errors import SettingsError
from moorage.lifecycle.listeners import Listener
from moorage.lifecycle.supervised import Scope

_LAST_CONNECTIONS_SECONDS: Final = 1


class SideServer:
    """Serves `app` on one of some addresses for as long as the context lasts.

    Args:
        name: Of the section of the settings that says where to listen.
        host: Address to listen on.
        ports: Ports to listen on, the first that is free; 0 is any free one.
        app: The ASGI app to serve.
        share_port: Let other workers of this service listen on the same port.
        backlog: Connections that may wait to be accepted.
        http: What parses HTTP.
    """

    def __init__(
        self,
        name: str,
        host: str,
        ports: Sequence[int],
        app: Any,
        *,
        share_port: bool = False,
        backlog: int = 64,
        http: type[asyncio.Protocol] | str = "httptools",
    ) -> None:
        self._listeners = [Listener(name, host, port, backlog, shared=share_port) for port in ports]
        self._server = uvicorn.Server(_config(app, http))
        self._socket: socket.socket | None = None
        self._background = Scope()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on; the port asked for may have been 0."""
        if self._socket is None:
            return self._listeners[0].host, self._listeners[0].port
        host, port = self._socket.getsockname()[:2]
        return host, port

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            SettingsError: The address cannot be listened on.
        """
        self._socket = self._listen()
        server = self._server
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[self._socket])
        self._background.restarted("side-server", server.main_loop)
        return self

    def _listen(self) -> socket.socket:
        *others, final = self._listeners
        for listener in others:
            try:
                return listener.open()
            except SettingsError:
                continue  # another worker has it
        return final.open()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop listening and give open connections a last second."""
        if self._socket is None:
            return
        self._server.should_exit = True
        await self._background.cancel()
        await self._server.shutdown(sockets=[self._socket])


def _config(app: Any, http: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=http,
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

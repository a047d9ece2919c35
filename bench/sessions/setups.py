"""The settings of the servers that are measured here."""

from __future__ import annotations

from dataclasses import dataclass

from moorage.security.api_keys import generate
from moorage.security.keyring import generate as generate_sealing_key

ROOM = {
    "MOORAGE_SESSIONS__MAX_SESSIONS": "100000",
    "MOORAGE_SESSIONS__MAX_SESSIONS_PER_PRINCIPAL": "100000",
    "MOORAGE_SESSIONS__MAX_STREAMS": "100000",
    "MOORAGE_RELAY__HOST": "127.0.0.1",
    "MOORAGE_RELAY__PORT": "0",
    "MOORAGE_LOGS__FORMAT": "json",
    "MOORAGE_LOGS__LEVEL": "warning",
}


@dataclass(frozen=True, slots=True)
class Setup:
    """Settings, and the key to call with."""

    settings: dict[str, str]
    token: str | None = None

    def with_store(self, url: str) -> Setup:
        """The same with a store, and a key that replicas share: without a store, one process with such a key refuses DELETE."""
        return self.having(MOORAGE_STORE__URL=url, MOORAGE_SECURITY__SEALING_KEYS=generate_sealing_key())

    def having(self, **settings: str) -> Setup:
        """The same with further settings."""
        return Setup({**self.settings, **settings}, self.token)


def bare() -> Setup:
    """Nothing is logged or exported."""
    return Setup(dict(ROOM))


def full(sink: int) -> Setup:
    """API key, spans and metrics to an OTLP backend, one JSON log line a call."""
    token, line = generate("bench")
    settings = {
        "MOORAGE_LOGS__LEVEL": "info",
        "MOORAGE_SECURITY__API_KEYS": line,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink}",
    }
    return Setup({**bare().settings, **settings}, token)

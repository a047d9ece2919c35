"""The settings of the service: one frozen tree, whose sections are handed to the rooms.

Owns every field with its description, unit, range, default and the reason for that default; the reference page and the chart's schema
are generated from here, so that no default is written twice. Promises that a `Settings` object is consistent in itself. Leaves finding
the values (flags, environment, file) and explaining a bad one to `settings_sources`.
"""

import ipaddress
import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

KIBIBYTE: Final = 1024
MEBIBYTE: Final = 1024 * KIBIBYTE

_HOST_PATTERN: Final = re.compile(r"\*|(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")
_ORIGIN_PATTERN: Final = re.compile(r"\*|[A-Za-z][A-Za-z0-9+.-]*://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")


def setting(default: object, description: str, *, reason: str, unit: str | None = None, **limits: Any) -> Any:
    """Declare a field with all that its reader has to know.

    Args:
        default: The value when nothing sets it.
        description: What it governs, as a sentence.
        reason: Why the default is what it is.
        unit: `bytes`, `seconds`, or what is counted; None for text and switches.
        limits: `ge` and `le`, both inclusive; `min_length` of text.
    """
    number = isinstance(default, int | float)
    extra: dict[str, Any] = {"reason": reason, "unit": unit}
    strict = True if number else None  # a switch is not a number, nor the other way round
    finite = False if isinstance(default, float) else None
    return Field(default=default, description=description, json_schema_extra=extra, strict=strict, allow_inf_nan=finite, **limits)


def is_loopback(host: str) -> bool:
    """Tell whether a listener on `host` can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_host(entry: str) -> str:
    if not _HOST_PATTERN.fullmatch(entry):
        raise ValueError(f"{entry!r} is not a host: write name, name:port, *.suffix or *, without scheme and path")
    return entry.lower()


def _check_origin(entry: str) -> str:
    if not _ORIGIN_PATTERN.fullmatch(entry):
        raise ValueError(f"{entry!r} is not an origin: write scheme://host or scheme://host:port without a path, or *")
    return entry.lower()


HostEntry = Annotated[str, AfterValidator(_check_host)]
OriginEntry = Annotated[str, AfterValidator(_check_origin)]


class Section(BaseModel):
    """What all sections share: they never change and know exactly their own keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ServerSettings(Section):
    """The public listener and the processes behind it."""

    host: str = setting(
        "127.0.0.1",
        "Address that the public listener binds to.",
        min_length=1,
        reason="A server that was only tried out is reachable from its own machine alone; the chart sets 0.0.0.0.",
    )
    port: int = setting(
        8000, "Port of the public listener; 0 takes any free one.", unit="port", ge=0, le=65535, reason="What tutorials use."
    )
    workers: int = setting(
        1,
        "Worker processes behind the public listener.",
        unit="processes",
        ge=1,
        le=64,
        reason="A legacy session lives in one process: scale by pods, where stickiness can find it again.",
    )
    backlog: int = setting(
        2048,
        "Connections that may wait to be accepted.",
        unit="connections",
        ge=1,
        le=65535,
        reason="Rides out a burst while one call runs.",
    )
    keep_alive_seconds: int = setting(
        75,
        "How long an idle connection is kept open.",
        unit="seconds",
        ge=1,
        le=3600,
        reason="Longer than the 60 seconds that proxies keep theirs, so that the proxy closes first and no request meets a closing one.",
    )


class AdminSettings(Section):
    """The second listener: probes, metrics and version."""

    host: str = setting(
        "127.0.0.1", "Address that the admin listener binds to.", reason="Metrics are nobody else's business; the chart sets 0.0.0.0."
    )
    port: int = setting(
        9090, "Port of the admin listener; 0 takes any free one.", unit="port", ge=0, le=65535, reason="Where scrapers look."
    )


class HttpSettings(Section):
    """What one HTTP exchange may cost."""

    max_body_bytes: int = setting(
        4 * MEBIBYTE,
        "Largest request body; a larger one gets 413.",
        unit="bytes",
        ge=KIBIBYTE,
        le=1024 * MEBIBYTE,
        reason="Room for a picture in base64; too small to fill a pod with.",
    )
    max_header_bytes: int = setting(
        32 * KIBIBYTE,
        "Largest sum of header names and values; more gets 431.",
        unit="bytes",
        ge=KIBIBYTE,
        le=MEBIBYTE,
        reason="What nginx lets through by default; large tokens fit.",
    )
    max_headers: int = setting(
        100,
        "Most header fields in a request; more gets 431.",
        unit="headers",
        ge=10,
        le=10_000,
        reason="The default of Envoy and of Apache.",
    )
    body_timeout_seconds: float = setting(
        30.0,
        "How long a body may stall before the request gets 408.",
        unit="seconds",
        ge=0.1,
        le=600,
        reason="A slow phone passes; a client that holds bodies open does not keep the process.",
    )
    max_in_flight: int = setting(
        1024,
        "Calls that run at one time in a process; more get 503 with Retry-After. Streams are not counted.",
        unit="calls",
        ge=1,
        le=100_000,
        reason="Beyond this, waiting makes every call late; a refusal lets the client try another replica.",
    )
    ping_seconds: float = setting(
        15.0,
        "Silence after which a stream gets a comment, so that proxies keep it.",
        unit="seconds",
        ge=1,
        le=60,
        reason="A quarter of the shortest idle cut-off in common use, 60 seconds.",
    )
    json_responses: bool = setting(
        False,
        "Answer every call as one JSON document; progress is dropped.",
        reason="A stream costs nothing until a tool reports something.",
    )


class SecuritySettings(Section):
    """Who may talk to the service, and under which names."""

    allowed_hosts: tuple[HostEntry, ...] = setting(
        (),
        "Values of Host that are served beside loopback names: name, name:port, *.suffix, or * for any. Others get 421.",
        reason="A page in a browser cannot reach the service through a name of its own (DNS rebinding).",
    )
    allowed_origins: tuple[OriginEntry, ...] = setting(
        (),
        "Values of Origin that are served, and told so by CORS, beside loopback origins: exact, or * for any. Others get 403.",
        reason="Clients that are no browser send none; a browser page has to be named.",
    )
    api_keys: SecretStr | None = setting(
        None,
        "API keys, one name:sha256hex a line, as `moorage keys new` prints them.",
        reason="Others are served once a key is made. Prefer api_keys_file: it can be changed without a restart.",
    )
    api_keys_file: str | None = setting(
        None,
        "Path of a file with API keys; it is read again when it changes.",
        reason="A mounted Secret is rotated and revoked in place.",
    )
    allow_anonymous: bool = setting(
        False,
        "Serve requests without a key also on an address that others can reach.",
        reason="Open to the world is a decision, never a default.",
    )

    @model_validator(mode="after")
    def _one_place_for_keys(self) -> "SecuritySettings":
        if self.api_keys is not None and self.api_keys_file is not None:
            raise ValueError("security.api_keys and security.api_keys_file are both set: keep one of them")
        return self

    @property
    def has_keys(self) -> bool:
        """Tell whether any source of API keys is set."""
        return self.api_keys is not None or self.api_keys_file is not None


class SessionSettings(Section):
    """Legacy sessions and long streams."""

    idle_timeout_seconds: float = setting(
        1800.0,
        "Silence after which a legacy session is closed.",
        unit="seconds",
        ge=1,
        le=86_400,
        reason="Longer than a coffee break, shorter than forgetting: clients seldom say goodbye.",
    )
    max_sessions: int = setting(
        10_000,
        "Legacy sessions in a process; more get 503.",
        unit="sessions",
        ge=1,
        le=1_000_000,
        reason="More handshakes that nobody ended are a leak or an attack.",
    )
    max_sessions_per_principal: int = setting(
        1000,
        "Legacy sessions of one principal in a process; more get 503.",
        unit="sessions",
        ge=1,
        le=1_000_000,
        reason="One runaway client leaves room for others.",
    )
    max_streams: int = setting(
        1024,
        "Listen streams and GET streams in a process; more get 503.",
        unit="streams",
        ge=1,
        le=100_000,
        reason="Each holds a connection and its buffers for hours.",
    )


class DrainSettings(Section):
    """How the service ends."""

    budget_seconds: float = setting(
        20.0,
        "Longest time from SIGTERM to exit.",
        unit="seconds",
        ge=1,
        le=600,
        reason="Leaves room for the chart's preStop sleep inside the 30 seconds that Kubernetes gives by default.",
    )
    settle_seconds: float = setting(
        0.0,
        "How long requests are still accepted after readiness went 503, inside the budget.",
        unit="seconds",
        ge=0,
        le=60,
        reason="The chart's preStop sleep does this in Kubernetes; behind another load balancer, set its check interval.",
    )

    @model_validator(mode="after")
    def _settles_within_budget(self) -> "DrainSettings":
        if self.settle_seconds >= self.budget_seconds:
            raise ValueError(
                f"drain.settle_seconds={self.settle_seconds:g} leaves nothing of drain.budget_seconds={self.budget_seconds:g}"
                " for calls in flight: make the budget larger or the settling shorter"
            )
        return self


class LogSettings(Section):
    """What is written to standard output."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "Least severity that is written.", reason="One line for each operation."
    )
    format: Literal["auto", "json", "console"] = setting(
        "auto", "Shape of a line; auto writes for people on a terminal, else JSON.", reason="Right in both places without being told."
    )


class TelemetrySettings(Section):
    """What is exported by OTLP; the standard OTEL variables say where to and how."""

    traces: bool = setting(True, "Export traces when an OTLP endpoint is configured.", reason="Naming an endpoint is asking for it.")
    metrics: bool = setting(True, "Export metrics when an OTLP endpoint is configured.", reason="Naming an endpoint is asking for it.")
    service_name: str | None = setting(
        None, "Value of service.name, before OTEL_SERVICE_NAME.", reason="Without either, the MCP server's own name says what it is."
    )


class Settings(Section):
    """Everything that can be set."""

    target: str | None = setting(
        None,
        "The MCP server to serve: module:attribute or path/to/file.py[:attribute].",
        reason="Only you know; `moorage serve TARGET` sets it.",
    )
    server: ServerSettings = ServerSettings()
    admin: AdminSettings = AdminSettings()
    http: HttpSettings = HttpSettings()
    security: SecuritySettings = SecuritySettings()
    sessions: SessionSettings = SessionSettings()
    drain: DrainSettings = DrainSettings()
    logs: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @model_validator(mode="after")
    def _open_to_others_only_on_purpose(self) -> "Settings":
        if not (is_loopback(self.server.host) or self.security.has_keys or self.security.allow_anonymous):
            raise ValueError(
                f"server.host={self.server.host!r} can be reached by others and there are no API keys: set security.api_keys_file"
                " (MOORAGE_SECURITY__API_KEYS_FILE; `moorage keys new NAME` makes a key),"
                " or say security.allow_anonymous=true (MOORAGE_SECURITY__ALLOW_ANONYMOUS) to serve everybody"
            )
        return self

    @model_validator(mode="after")
    def _listeners_do_not_collide(self) -> "Settings":
        if self.server.port and self.server.port == self.admin.port:
            raise ValueError(f"server.port and admin.port are both {self.server.port}: the admin listener needs a port of its own")
        return self

    @property
    def anonymous_allowed(self) -> bool:
        """Tell whether a request without a key is served: on purpose, or because only this machine can ask."""
        return self.security.allow_anonymous or not self.security.has_keys

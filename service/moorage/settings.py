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
_NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?")
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


def is_plain_host(host: str) -> bool:
    """Tell whether this is an IP address or a name, without port, path or anything else of a URL."""
    if ":" not in host:
        return _NAME_PATTERN.fullmatch(host) is not None
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Tell whether a listener on `host` can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
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
        reason="A pod with one process is the simplest thing to probe, measure and scale: add pods.",
    )
    replicas: int = setting(
        1,
        "Replicas that share the address, as far as whoever deploys them knows.",
        unit="replicas",
        ge=1,
        le=10_000,
        reason="More than one without a store is worth a warning; the chart sets it.",
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
    loop_blocked_seconds: float = setting(
        1.0,
        "How long something may hold up the event loop before it is named in the log (loop.blocked).",
        unit="seconds",
        ge=0.05,
        le=3600,
        reason="Every request of the process waits meanwhile; a probe gives up after a second or a few.",
    )


class AdminSettings(Section):
    """The second listener: probes, metrics and version."""

    host: str = setting(
        "127.0.0.1", "Address that the admin listener binds to.", reason="Metrics are nobody else's business; the chart sets 0.0.0.0."
    )
    port: int = setting(
        9090, "Port of the admin listener; 0 takes any free one.", unit="port", ge=0, le=65535, reason="Where scrapers look."
    )
    allowed_hosts: tuple[HostEntry, ...] = setting(
        (),
        "Names of Host that the admin listener serves beside loopback names and addresses: name, name:port, *.suffix, or * for any."
        " Others get 421.",
        reason="Probes and scrapes ask for an address; a page in a browser that reaches it through a name of its own reads no metrics.",
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
    max_json_depth: int = setting(
        100,
        "Deepest nesting of arrays and objects in a request body; a deeper one gets 400 before it is decoded.",
        unit="levels",
        ge=10,
        le=150,
        reason="No client needs more; the decoders and validators behind it end between 200 and 254 levels.",
    )
    max_json_values: int = setting(
        50_000,
        "Most values in a request body, keys not counted; more get 400 before the body is decoded.",
        unit="values",
        ge=1000,
        le=10_000_000,
        reason="Decoding holds up everybody: with so many values of the worst shape for less than 50 ms (python -m bench.decoding).",
    )
    write_timeout_seconds: float = setting(
        30.0,
        "How long a client that is behind may take to read 64 KiB of its answer; then its connection is cut.",
        unit="seconds",
        ge=0.1,
        le=600,
        reason="A slow phone passes; a client that stopped reading does not keep a call, its buffers and its place.",
    )
    max_unread_bytes: int = setting(
        64 * MEBIBYTE,
        "Bytes of answers that wait at one time in a process for clients that are behind by more than 64 KiB; past it the connections"
        " that have been behind for longest are cut, the newest never.",
        unit="bytes",
        ge=64 * KIBIBYTE,
        le=16 * 1024 * MEBIBYTE,
        reason="Sixteen answers of 4 MiB that nobody reads; a thousand of them would fill a pod before their time-out.",
    )
    max_in_flight: int = setting(
        1024,
        "Calls that run at one time in a process, relayed ones too; more are refused and told when to try again. Streams are not counted.",
        unit="calls",
        ge=1,
        le=100_000,
        reason="Beyond this, waiting makes every call late; a refusal lets the client try another replica.",
    )
    max_bodies: int = setting(
        1024,
        "Request bodies that are read at one time in a process; more get 503 with Retry-After.",
        unit="bodies",
        ge=2,
        le=100_000,
        reason="As many as may run; one part in eight is for bodies up to 64 KiB, so that answers get in beside uploads.",
    )
    max_bodies_bytes: int = setting(
        64 * MEBIBYTE,
        "Bytes of request bodies that are being read at one time in a process; more get 503 with Retry-After.",
        unit="bytes",
        ge=4 * KIBIBYTE,
        le=16 * 1024 * MEBIBYTE,
        reason="Sixteen of the largest bodies at once; unfinished uploads do not fill a pod.",
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

    @model_validator(mode="after")
    def _largest_body_fits(self) -> "HttpSettings":
        if self.max_bodies_bytes < 4 * self.max_body_bytes:
            raise ValueError(
                f"http.max_bodies_bytes={self.max_bodies_bytes} leaves no room for several bodies of"
                f" http.max_body_bytes={self.max_body_bytes}: set it to at least {4 * self.max_body_bytes}"
            )
        return self


class CallSettings(Section):
    """How long one call may run, and how many run in threads."""

    deadline_seconds: float = setting(
        300.0,
        "Time after which a call is stopped and answered with an error (-32001), counted from its begin or its last progress.",
        unit="seconds",
        ge=0.1,
        le=86_400,
        reason="Longer than clients and proxies wait; a call that hangs gives its place back.",
    )
    longest_seconds: float = setting(
        3600.0,
        "The same, counted from its begin, whatever progress it reports.",
        unit="seconds",
        ge=0.1,
        le=604_800,
        reason="A tool that reports progress for ever ends as well.",
    )

    threads: int = setting(
        40,
        "Plain functions (tools, prompts, resources that are no coroutines) that run at one time in a process, each in a thread.",
        unit="threads",
        ge=1,
        le=10_000,
        reason="What the SDK has without a runtime; more threads make none of them faster when they compute, more when they wait.",
    )
    thread_queue: int = setting(
        160,
        "Calls of plain functions that may wait for a thread; one more is refused before it ran and told when to try again.",
        unit="calls",
        ge=0,
        le=100_000,
        reason="Four times the threads: the last waits for four others, and a function that hangs does not collect every call.",
    )

    @model_validator(mode="after")
    def _progress_extends(self) -> "CallSettings":
        if self.longest_seconds < self.deadline_seconds:
            raise ValueError(
                f"calls.longest_seconds={self.longest_seconds:g} is less than calls.deadline_seconds={self.deadline_seconds:g}:"
                " no call could reach its deadline"
            )
        return self


class TenantSettings(Section):
    """How principals share one process."""

    reserve: float = setting(
        0.25,
        "Part of each bound (bodies, calls, threads, streams, questions, sessions) that one principal cannot hold while there are others.",
        unit="part",
        ge=0,
        le=0.9,
        reason="Alone, a principal may use everything; once there is a second one, a quarter stays free for it.",
    )
    seen_seconds: float = setting(
        3600.0,
        "How long a principal that was seen counts as another one; who has a key in the configuration always does.",
        unit="seconds",
        ge=1,
        le=604_800,
        reason="A client that calls once an hour finds room.",
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
    keys_grace_seconds: float = setting(
        60.0,
        "How long the last API keys stay valid while api_keys_file is missing, unreadable or holds no line but comments; then no key is.",
        unit="seconds",
        ge=0,
        le=3600,
        reason="A Secret that is replaced by hand is away for a moment; one that stays away must not keep revoked keys alive.",
    )
    allow_anonymous: bool = setting(
        False,
        "Serve requests without a key also on an address that others can reach.",
        reason="Open to the world is a decision, never a default.",
    )
    sealing_keys: SecretStr | None = setting(
        None,
        "Keys that seal session ids and requestState, one a line, as `moorage keys sealing` prints them; the first seals, all open.",
        reason="A process makes one for its own life; replicas have to share them. Prefer sealing_keys_file.",
    )
    sealing_keys_file: str | None = setting(
        None,
        "Path of a file with sealing keys; it is read again when it changes.",
        reason="A mounted Secret is rotated in place.",
    )

    @model_validator(mode="after")
    def _one_place_for_keys(self) -> "SecuritySettings":
        for name in ("api_keys", "sealing_keys"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise ValueError(f"security.{name} and security.{name}_file are both set: keep one of them")
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
    lifetime_seconds: float = setting(
        86_400.0,
        "Age at which a legacy session ends when there is no store; until then a replica that did not see its end may still serve it.",
        unit="seconds",
        ge=60,
        le=2_592_000,
        reason="A day's work. With a store, silence alone ends a session.",
    )
    park_after_seconds: float = setting(
        30.0,
        "Silence after which an idle legacy session is dropped from memory; its next request brings it back, here or elsewhere.",
        unit="seconds",
        ge=0,
        le=3600,
        reason="Longer than the pauses within a conversation, so that a busy session stays where it is.",
    )
    lease_seconds: float = setting(
        5.0,
        "How long a process may be out of touch with the store before other replicas take its sessions over.",
        unit="seconds",
        ge=2,
        le=60,
        reason="Survives a slow second of the store; a process that died is noticed sooner, by its closed door.",
    )
    stream_max_age_seconds: float = setting(
        3600.0,
        "Age at which an event stream is ended, give or take a tenth: its client is told to come back; 0 leaves it open.",
        unit="seconds",
        ge=0,
        le=86_400,
        reason="Long-lived connections pin load to old pods; a few seconds an hour move it.",
    )
    log_seconds: float = setting(
        300.0,
        "How long events are kept for a client that resumes a stream.",
        unit="seconds",
        ge=10,
        le=86_400,
        reason="A train through a tunnel, a laptop that changes networks.",
    )
    log_events: int = setting(
        1000, "Most events kept for one session.", unit="events", ge=10, le=100_000, reason="Bounds what a resume has to replay."
    )
    log_bytes: int = setting(
        512 * KIBIBYTE,
        "Most bytes of events kept for one session.",
        unit="bytes",
        ge=16 * KIBIBYTE,
        le=64 * MEBIBYTE,
        reason="A replay fits in a stream's buffers.",
    )
    max_event_bytes: int = setting(
        256 * KIBIBYTE,
        "Largest event that is kept for a session; a larger answer reaches only a client that is connected, a larger message is an error.",
        unit="bytes",
        ge=4 * KIBIBYTE,
        le=64 * MEBIBYTE,
        reason="Half of a log: one event leaves room for others, and costs the store several times its size for a moment.",
    )
    max_bytes_per_principal: int = setting(
        32 * MEBIBYTE,
        "What the store holds for the sessions of one principal (logs, calls, subscriptions), shared out evenly; past it old events go.",
        unit="bytes",
        ge=MEBIBYTE,
        le=64 * 1024 * MEBIBYTE,
        reason="Sixty-four full logs: one principal cannot fill a store that has a few hundred MiB.",
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
        "Legacy sessions of one principal, in a process or, with a store, in the whole deployment; more get 503.",
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
    max_questions: int = setting(
        1024,
        "Unanswered requests to clients (elicitation, sampling, roots) in a process; the tool that asks one more gets an error.",
        unit="questions",
        ge=1,
        le=100_000,
        reason="As many as calls may run: each holds a call.",
    )
    question_gap_seconds: float = setting(
        60.0,
        "How long an unanswered question may have no stream that could carry it before the tool gets an error.",
        unit="seconds",
        ge=1,
        le=3600,
        reason="Longer than a client takes to come back for its stream; a client that never does frees the call.",
    )


_STORE_SCHEMES: Final = frozenset(
    f"{name}{kind}{tls}" for name in ("redis", "valkey") for kind in ("", "+sentinel", "+cluster") for tls in ("", "+tls")
) | {"rediss", "valkeys"}


STORE_URL_HINT: Final = (
    "write redis://host:port/db, redis+sentinel://host:port,host:port/service or redis+cluster://host:port,host:port,"
    " with +tls before :// for TLS; valkey may stand for redis"
)


def is_store_url(text: str) -> bool:
    """Tell whether a text begins like the URL of a store."""
    scheme, separator, rest = text.partition("://")
    return scheme in _STORE_SCHEMES and bool(separator) and bool(rest)


class StoreSettings(Section):
    """The Redis or Valkey that replicas share; without one, sessions live by their sealed ids alone."""

    url: SecretStr | None = setting(
        None,
        "Where it is: redis://[user:password@]host:port/db, redis+sentinel://host:port,.../service, redis+cluster://host:port,...;"
        " +tls before :// for TLS.",
        reason="One replica needs none. It may hold a password: prefer url_file.",
    )
    url_file: str | None = setting(None, "Path of a file with the URL, read at the start.", reason="A mounted Secret.")
    ca_file: str | None = setting(
        None, "Path of the certificates that the store's own is checked against.", reason="The system's, when there is none."
    )
    prefix: str = setting(
        "moorage", "What all keys begin with.", min_length=1, max_length=64, reason="Deployments that share a store do not share sessions."
    )
    timeout_seconds: float = setting(
        2.0,
        "How long one answer of the store may take.",
        unit="seconds",
        ge=0.1,
        le=30,
        reason="Far beyond a healthy answer, and well within a lease.",
    )

    @model_validator(mode="after")
    def _names_one_store(self) -> "StoreSettings":
        if self.url is not None and self.url_file is not None:
            raise ValueError("store.url and store.url_file are both set: keep one of them")
        if self.url is not None and not is_store_url(self.url.get_secret_value()):
            raise ValueError(f"store.url is not the URL of a store: {STORE_URL_HINT}")
        return self

    @property
    def configured(self) -> bool:
        """Tell whether there is a store."""
        return self.url is not None or self.url_file is not None


class RelaySettings(Section):
    """The internal door at which replicas hand each other requests; it opens only where there is a store."""

    host: str = setting("127.0.0.1", "Address that the door binds to.", min_length=1, reason="The chart sets 0.0.0.0.")
    port: int = setting(
        9191,
        "Port of the door; with several workers each takes the next free one from here on. 0 takes any free one.",
        unit="port",
        ge=0,
        le=65535,
        reason="Beside the admin port.",
    )
    advertise: str | None = setting(
        None, "Host under which other replicas reach the door.", reason="`relay.host` where that is an address; the chart sets the pod's."
    )
    connect_seconds: float = setting(
        0.5,
        "How long a connection to another replica may take.",
        unit="seconds",
        ge=0.05,
        le=10,
        reason="Far beyond a round trip inside a cluster.",
    )


class DrainSettings(Section):
    """How the service ends."""

    budget_seconds: float = setting(
        20.0,
        "Longest time from SIGTERM to exit; what has not ended by then (a lifespan, a thread) is named in the log and left behind.",
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
    calls: CallSettings = CallSettings()
    security: SecuritySettings = SecuritySettings()
    tenants: TenantSettings = TenantSettings()
    sessions: SessionSettings = SessionSettings()
    store: StoreSettings = StoreSettings()
    relay: RelaySettings = RelaySettings()
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

    @model_validator(mode="after")
    def _other_replicas_are_told_a_place(self) -> "Settings":
        if self.store.configured and self.relay.advertise is None and _is_wildcard(self.relay.host):
            raise ValueError(
                f"relay.host={self.relay.host!r} stands for every address of this machine, and other replicas have to be told one:"
                " set relay.advertise (MOORAGE_RELAY__ADVERTISE)"
            )
        if self.relay.advertise is not None and not is_plain_host(self.relay.advertise.strip("[]")):
            raise ValueError(f"relay.advertise={self.relay.advertise!r} is not a host: write a name or an IP address alone")
        return self

    @property
    def anonymous_allowed(self) -> bool:
        """Tell whether a request without a key is served: on purpose, or because only this machine can ask."""
        return self.security.allow_anonymous or not self.security.has_keys

"""Every measurement that this process takes: names, units, buckets and labels.

Owns the instruments; uses the OpenTelemetry API alone, so it works with any meter. Promises that a label takes its values from a
closed set, and that recording is cheap: counts are plain integers that are read when somebody collects, and histograms come from
the caller of the constructor, who may know a faster kind than the SDK's.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

from moorage.lifecycle.loop_watch import LOOP
from moorage.lifecycle.supervised import FAULTS
from moorage.limits.unread import UNREAD
from moorage.telemetry.context import context_of
from moorage.telemetry.conventions import (
    HTTP_BUCKETS,
    HTTP_METHODS,
    HTTP_VERSIONS,
    LAG_BUCKETS,
    MCP_BUCKETS,
    OTHER,
    PROTOCOL_VERSIONS,
    REASONS,
    STREAM_BUCKETS,
)
from moorage.telemetry.log_pipe import DROPPED

Label = str | int | None
Labels = tuple[Label, ...]
STREAM_KINDS: Final = frozenset({"listen", "get", OTHER})


@dataclass(frozen=True, slots=True)
class HistogramSpec:
    """What a histogram is. `keys` names its labels, in the order in which values are given; a label that is None is left out."""

    name: str
    description: str
    buckets: tuple[float, ...]
    keys: tuple[str, ...]
    unit: str = "s"


class Histogram(Protocol):
    """Takes durations. Implementations must be safe to call on the event loop: no I/O, no waiting."""

    def record(self, value: float, labels: Labels, span: SpanContext) -> None:
        """Count one value under its labels; `span` is what an exemplar points to."""
        ...


HistogramFactory = Callable[[HistogramSpec], Histogram]

OPERATION: Final = HistogramSpec(
    "mcp.server.operation.duration",
    "Duration of an MCP request or notification, as observed on the receiver.",
    MCP_BUCKETS,
    (
        "mcp.method.name",
        "gen_ai.tool.name",
        "gen_ai.prompt.name",
        "gen_ai.operation.name",
        "mcp.protocol.version",
        "moorage.outcome",
        "error.type",
        "rpc.response.status_code",
    ),
)
SESSION: Final = HistogramSpec(
    "mcp.server.session.duration",
    "Duration of an MCP session, as observed on the server.",
    MCP_BUCKETS,
    ("mcp.protocol.version", "error.type"),
)
REQUEST: Final = HistogramSpec(
    "http.server.request.duration",
    "Duration of HTTP server requests.",
    HTTP_BUCKETS,
    (
        "http.request.method",
        "url.scheme",
        "http.route",
        "http.response.status_code",
        "network.protocol.version",
        "error.type",
    ),
)
STREAM: Final = HistogramSpec("moorage.stream.duration", "Life of a long-lived event stream.", STREAM_BUCKETS, ("moorage.stream.kind",))
LAG: Final = HistogramSpec("moorage.loop.lag", "How late a timer of the event loop was run, ten times a second.", LAG_BUCKETS, ())


@dataclass(frozen=True, slots=True)
class StoreState:
    """What a process knows of its store.

    Attributes:
        full: Whether it had no room when something was last to be written.
        other_rings: How many marks there are at our prefix that our ring does not open.
        unkept: How many events a full store did not take.
        unreadable: How many entries were skipped, by kind, from a closed set.
    """

    full: bool
    other_rings: int
    unkept: int
    unreadable: Mapping[str, int]


class Tally:
    """Counts by label, read when somebody collects. Adding costs a dictionary update; call it on one thread only."""

    __slots__ = ("_counts", "_keys")

    def __init__(self, keys: tuple[str, ...], *always: Labels) -> None:
        self._keys = keys
        self._counts: dict[Labels, int] = dict.fromkeys(always, 0)

    def add(self, labels: Labels, amount: int = 1) -> None:
        """Change the count of these labels."""
        self._counts[labels] = self._counts.get(labels, 0) + amount

    def total(self) -> int:
        """Return the sum over all labels."""
        return sum(self._counts.values())

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        """Give the counts to OpenTelemetry."""
        return [Observation(count, dict(zip(self._keys, labels, strict=True))) for labels, count in list(self._counts.items())]


class Instruments:
    """The instruments of one process."""

    __slots__ = (
        "_active_requests",
        "_lag",
        "_refusals",
        "_relay_refusals",
        "_relayed",
        "_resumed",
        "_sealed",
        "_sessions",
        "_streams",
        "_taken_over",
        "operation",
        "request",
        "session",
        "store_answers",
        "store_state",
        "stream",
        "threads",
    )

    def __init__(
        self,
        meter: Meter,
        *,
        version: str,
        histograms: HistogramFactory | None = None,
        started: float | None = None,
        sealed: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """Args: `sealed` says how many messages were sealed, by purpose; asked when somebody collects."""
        make: HistogramFactory = histograms or partial(MeterHistogram, meter)
        self.operation = make(OPERATION)
        self.session = make(SESSION)
        self.request = make(REQUEST)
        self.stream = make(STREAM)
        self._lag = make(LAG)
        self._active_requests = Tally(("http.request.method", "url.scheme"), ("POST", "http"))
        self._streams = Tally(("moorage.stream.kind",), ("listen",), ("get",))
        self._sessions = Tally(("mcp.protocol.version",))
        self._refusals = Tally(("http.response.status_code", "moorage.refusal.reason"))
        self._relayed = Tally(("moorage.relay.verdict",))
        self._relay_refusals = Tally(("moorage.relay.refusal.reason",))
        self._taken_over = Tally((), ())
        self._resumed = Tally(("moorage.resume.outcome",))
        self.store_answers: Callable[[], bool] | None = None
        self._sealed = sealed
        self.store_state: Callable[[], StoreState] | None = None
        self.threads: Callable[[], Mapping[str, int]] | None = None
        self._expose(meter, version, time.time() if started is None else started)

    def request_started(self, method: str, scheme: str) -> None:
        """Count an HTTP request in."""
        self._active_requests.add((method, scheme))

    def request_ended(self, method: str, scheme: str) -> None:
        """Count it out."""
        self._active_requests.add((method, scheme), -1)

    def refused(self, status: int, reason: str) -> None:
        """Count an exchange that ended in an error before any MCP message was understood."""
        self._refusals.add((status, reason if reason in REASONS else OTHER))

    def stream_opened(self, kind: str) -> None:
        """Count a long-lived stream in."""
        self._streams.add((kind if kind in STREAM_KINDS else OTHER,))

    def stream_closed(self, kind: str, seconds: float, span: SpanContext = INVALID_SPAN_CONTEXT) -> None:
        """Count it out, and measure its life."""
        kind = kind if kind in STREAM_KINDS else OTHER
        self._streams.add((kind,), -1)
        self.stream.record(seconds, (kind,), span)

    def session_opened(self, protocol_version: str) -> None:
        """Count a session in."""
        self._sessions.add((known_version(protocol_version),))

    def session_left(self, protocol_version: str) -> None:
        """Count a session out that goes on elsewhere."""
        self._sessions.add((known_version(protocol_version),), -1)

    def session_closed(self, protocol_version: str, seconds: float, error_type: str | None = None) -> None:
        """Count it out, and measure its life. `error_type` must come from a closed set of the caller's."""
        version = known_version(protocol_version)
        self._sessions.add((version,), -1)
        self.session.record(seconds, (version, error_type), INVALID_SPAN_CONTEXT)

    def relayed(self, verdict: str) -> None:
        """Count a request that was passed on to another replica; `verdict` must come from a closed set of the caller's."""
        self._relayed.add((verdict,))

    def relay_refused(self, reason: str) -> None:
        """Count a request that the relay door did not serve; `reason` must come from a closed set of the caller's."""
        self._relay_refusals.add((reason,))

    def taken_over(self) -> None:
        """Count a session whose owner was lost and that is ours now."""
        self._taken_over.add(())

    def loop_lagged(self, seconds: float) -> None:
        """Measure how late the event loop ran a timer."""
        self._lag.record(seconds, (), INVALID_SPAN_CONTEXT)

    def resumed(self, *, whole: bool) -> None:
        """Count a stream that a client wants to resume, and whether it could without a gap."""
        self._resumed.add(("recovered" if whole else "position_lost",))

    def _expose(self, meter: Meter, version: str, started: float) -> None:
        meter.create_observable_up_down_counter(
            "http.server.active_requests", [self._active_requests.observe], "{request}", "Number of active HTTP server requests."
        )
        meter.create_observable_up_down_counter("moorage.streams.active", [self._streams.observe], "{stream}", "Open event streams.")
        meter.create_observable_up_down_counter("moorage.sessions.active", [self._sessions.observe], "{session}", "Open sessions.")
        meter.create_observable_counter(
            "moorage.refusals", [self._refusals.observe], "{request}", "Requests that were refused before anything of them ran."
        )
        meter.create_observable_counter(
            "moorage.relay.requests", [self._relayed.observe], "{request}", "Requests passed on to the replica that owns their session."
        )
        meter.create_observable_counter(
            "moorage.relay.refusals", [self._relay_refusals.observe], "{request}", "Requests at the relay door that were not served."
        )
        meter.create_observable_counter(
            "moorage.sessions.taken_over", [self._taken_over.observe], "{session}", "Sessions taken over from a replica that was lost."
        )
        meter.create_observable_counter("moorage.streams.resumed", [self._resumed.observe], "{stream}", "Streams that clients resumed.")
        meter.create_observable_counter(
            "moorage.background.faults", [_faults], "{fault}", "Exceptions that background work has raised, by the name of its task."
        )
        meter.create_observable_gauge("moorage.http.unread", [lambda _: [Observation(UNREAD.bytes)]], "By", "Of answers not yet read.")
        meter.create_observable_counter("moorage.logs.dropped", [lambda _: [Observation(DROPPED.lines)]], "{line}", "Log lines unread.")
        meter.create_observable_gauge("moorage.loop.lag.longest", [lambda _: [Observation(LOOP.longest())]], "s", "Longest of a minute.")
        meter.create_observable_counter("moorage.loop.blocked", [lambda _: [Observation(LOOP.blocks)]], "{block}", "Blocks of the loop.")
        meter.create_observable_gauge("moorage.store.up", [self._store_up], "", "Whether the store answers; nothing without a store.")
        meter.create_observable_counter("moorage.seals", [self._seals], "{message}", "Messages sealed with the shared keys.")
        meter.create_observable_gauge("moorage.store.full", [self._store_full], "", "Whether the store had no room when last written to.")
        meter.create_observable_gauge("moorage.store.rings", [self._store_rings], "{mark}", "Others with another ring at our prefix.")
        meter.create_observable_counter("moorage.store.unreadable", [self._store_odd], "{entry}", "Content of the store that was skipped.")
        meter.create_observable_counter(
            "moorage.log.unkept", [self._store_unkept], "{event}", "Events that a full store did not take; nobody resumes before them."
        )
        meter.create_observable_up_down_counter(
            "moorage.threads", [self._thread_states], "{thread}", "Plain functions in threads, and calls that wait for one."
        )
        build = {"version": version, "python": platform.python_version()}
        meter.create_observable_gauge(
            "moorage.process.start_time", [lambda _: [Observation(started)]], "s", "When this process started, in Unix time."
        )
        meter.create_observable_gauge("moorage.build_info", [lambda _: [Observation(1, build)]], "", "What is running; always 1.")

    def _seals(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(count, {"moorage.seal.purpose": purpose}) for purpose, count in self._sealed().items()]

    def _thread_states(self, _options: CallbackOptions) -> Iterable[Observation]:
        if self.threads is None:
            return []
        return [Observation(count, {"moorage.thread.state": state}) for state, count in self.threads().items()]

    def _store_up(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [] if self.store_answers is None else [Observation(int(self.store_answers()))]

    def _store_full(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [] if self.store_state is None else [Observation(int(self.store_state().full))]

    def _store_rings(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [] if self.store_state is None else [Observation(self.store_state().other_rings)]

    def _store_unkept(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [] if self.store_state is None else [Observation(self.store_state().unkept)]

    def _store_odd(self, _options: CallbackOptions) -> Iterable[Observation]:
        if self.store_state is None:
            return []
        return [Observation(count, {"moorage.store.entry": kind}) for kind, count in self.store_state().unreadable.items()]


class MeterHistogram:
    """A histogram of the meter's own. Costs what the SDK costs: about 20 microseconds a value."""

    __slots__ = ("_histogram", "_keys")

    def __init__(self, meter: Meter, spec: HistogramSpec) -> None:
        self._keys = spec.keys
        self._histogram = meter.create_histogram(spec.name, spec.unit, spec.description, explicit_bucket_boundaries_advisory=spec.buckets)

    def record(self, value: float, labels: Labels, span: SpanContext) -> None:
        """See `Histogram.record`."""
        attributes = {key: label for key, label in zip(self._keys, labels, strict=True) if label is not None}
        self._histogram.record(value, attributes, context_of(span))


def _faults(_options: CallbackOptions) -> Iterable[Observation]:
    return [Observation(count, {"moorage.task": name}) for name, count in FAULTS.counts.items()]


def known_version(protocol_version: str) -> str:
    """Return a protocol version as a label."""
    return protocol_version if protocol_version in PROTOCOL_VERSIONS else OTHER


def known_http_version(version: str) -> str:
    """Return an HTTP version as a label."""
    return version if version in HTTP_VERSIONS else OTHER


def known_method(http_method: str) -> str:
    """Return an HTTP method as a label."""
    return http_method if http_method in HTTP_METHODS else OTHER

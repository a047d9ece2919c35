"""What the admin port answers: probes, metrics, version.

Owns the ASGI app and the words of the probes, which are those of Kubernetes' own components. It promises that no answer
depends on who asks, that nobody is answered under a name that was not given to this port, that liveness says only that the
event loop turns (so that a drain is not taken for a death), and that a check that raises fails its probe and nothing else.
Where the facts come from is the app's affair.
"""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from moorage import __version__
from moorage.lifecycle.phase import Lifecycle, Phase
from moorage.security.hosts import HostPolicy
from moorage.telemetry import logs

Check = Callable[[], str | None]
"""Says what is wrong, or None when nothing is. Runs on the event loop, so it has to be quick."""

Render = Callable[[str], tuple[str, bytes]]
"""Takes the request's Accept header and returns the content type and the body of the metrics."""

_TEXT: Final = "text/plain; charset=utf-8"

_log = logs.get_logger("moorage.admin")


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of the admin port."""

    status: int
    body: bytes
    content_type: str = _TEXT
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What of a request matters here."""

    query: bytes
    accept: str


def about(server_name: str, server_version: str | None) -> dict[str, object]:
    """The document of /version: what runs here, and on what."""
    return {
        "moorage": __version__,
        "mcp": version("mcp"),
        "python": platform.python_version(),
        "server": {"name": server_name, "version": server_version},
    }


@dataclass(frozen=True, slots=True)
class AdminApp:
    """The ASGI app of the admin port.

    Attributes:
        lifecycle: Whose phase the probes report.
        render: Writes the metrics.
        about: The document of /version.
        hosts: Names under which it is served.
        checks: What else has to hold for readiness, by name; the phase is always the first check.
        notes: What readiness tells in its detail, by name, without being lost for it.
    """

    lifecycle: Lifecycle
    render: Render
    about: Mapping[str, object]
    hosts: HostPolicy = field(default_factory=lambda: HostPolicy((), addresses=True))
    checks: Mapping[str, Check] = field(default_factory=dict[str, Check])
    notes: Mapping[str, Check] = field(default_factory=dict[str, Check])

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        _receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request; the body of a request is never read."""
        answer = self._answer(scope)
        headers = [
            (b"content-type", answer.content_type.encode("latin-1")),
            (b"content-length", str(len(answer.body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            *answer.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _answer(self, scope: MutableMapping[str, Any]) -> Answer:
        if not self._serves(scope):
            return Answer(421, b"misdirected request: this Host is not served here (admin.allowed_hosts)\n")
        route = self._routes().get(scope["path"])
        if route is None:
            return Answer(404, b"not found; there are " + ", ".join(self._routes()).encode() + b"\n")
        if scope["method"] not in ("GET", "HEAD"):
            return Answer(405, b"method not allowed\n", headers=((b"allow", b"GET, HEAD"),))
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
        return route(Question(scope["query_string"], accept.decode("latin-1")))

    def _serves(self, scope: MutableMapping[str, Any]) -> bool:
        """Every name that was asked for has to be served; checks of load balancers that speak HTTP/1.0 ask for none, browsers always do."""
        return all(self.hosts.allows(value) for name, value in scope["headers"] if name == b"host")

    def _routes(self) -> dict[str, Callable[[Question], Answer]]:
        return {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/startupz": self._startupz,
            "/metrics": self._metrics,
            "/version": self._version,
        }

    def _livez(self, question: Question) -> Answer:
        return _probe("livez", {"event-loop": lambda: None}, question)

    def _readyz(self, question: Question) -> Answer:
        return _probe("readyz", {"phase": self._not_ready, **self.checks}, question, self.notes)

    def _startupz(self, question: Question) -> Answer:
        return _probe("startupz", {"started": self._not_started}, question)

    def _not_ready(self) -> str | None:
        phase = self.lifecycle.phase
        return None if phase is Phase.READY else phase.value

    def _not_started(self) -> str | None:
        phase = self.lifecycle.phase
        return phase.value if phase is Phase.STARTING else None

    def _metrics(self, question: Question) -> Answer:
        try:
            content_type, body = self.render(question.accept)
        except Exception:  # boundary: protects the other probes' connection from a collector that fails
            _log.exception("metrics.failed")
            return Answer(500, b"the metrics could not be written; see the log\n")
        return Answer(200, body, content_type)

    def _version(self, _question: Question) -> Answer:
        return Answer(200, orjson.dumps(self.about, option=orjson.OPT_APPEND_NEWLINE), "application/json")


def _probe(name: str, checks: Mapping[str, Check], question: Question, notes: Mapping[str, Check] | None = None) -> Answer:
    """Run the checks; the list of them is told when it is asked for (`?verbose`) or when one fails, and the notes with it."""
    findings = {title: _run(title, check) for title, check in checks.items()}
    failed = any(findings.values())
    if not failed and "verbose" not in parse_qs(question.query.decode("latin-1"), keep_blank_values=True):
        return Answer(200, b"ok\n")
    lines = [f"[+]{title} ok" if found is None else f"[-]{title} failed: {found}" for title, found in findings.items()]
    lines += [f"[!]{title}: {note}" for title, check in (notes or {}).items() if (note := _run(title, check)) is not None]
    verdict = f"{name} check {'failed' if failed else 'passed'}"
    return Answer(503 if failed else 200, "\n".join([*lines, verdict, ""]).encode())


def _run(title: str, check: Check) -> str | None:
    try:
        return check()
    except Exception:  # boundary: protects the probe from a check that fails to check
        _log.exception("check.failed", check=title)
        return "the check itself failed; see the log"

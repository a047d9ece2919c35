"""uvicorn's httptools protocol with the bounds that it lacks.

Owns what happens to a request before the app hears of it. Promises that a head is bounded in bytes, fields, length of its
request line and time while it is parsed; that optional whitespace around a field's value is gone (RFC 9110, 5.5), and
trailers are dropped, since they could add a field to a request that was already judged; that a request which asks for an
upgrade is served as if it had not; and that who is refused gets to read why. `RestOfBody` bounds what comes after an answer;
`Pipelined` sees clients leave whose requests wait; limits on a body that somebody reads are for the edge.

With plain uvicorn: `--http moorage.edge.http:BoundedProtocol --ws none`.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from moorage.edge.pipelined import Pipelined
from moorage.edge.understood import JUDGED, ONCE, UNDERSTOOD, names_another_host
from moorage.telemetry import logs

if TYPE_CHECKING:
    from moorage.settings import HttpSettings

MAX_PIPELINED: Final = 16
"""Requests that wait on a connection behind the one that is served. One read of 256 KB holds thousands, each of them an object
of the server's; clients that pipeline at all send a handful."""

_FRAMING: Final = (b"content-length", b"transfer-encoding")
_BETWEEN_FIELDS: Final = 4  # bytes: colon, space, line end
_VERSIONS: Final = ("1.1", "1.0")
_NO_HEAD: Final = b"<no head is being read>"  # stands in `url`, which uvicorn empties when a head begins

_log = logs.get_logger("moorage.http")


class _Refused(Exception):  # noqa: N818 - a verdict on the request, raised to stop the parser
    pass


class BoundedProtocol(Pipelined):
    """One connection. The limits are class attributes: `bounded_protocol` makes a class with others.

    Every request passes here, so bytes are counted once a read and added up only where a read was large enough to matter; one
    read may overshoot a limit before it is noticed.
    """

    __slots__ = ("_framing", "_head_timer", "_muted", "_unfruitful", "_verdict")
    """Beside uvicorn's own attributes, which are just few enough for objects to share the keys of their dictionaries."""

    max_header_bytes: ClassVar[int] = 32 * 1024
    max_headers: ClassVar[int] = 100
    max_target_bytes: ClassVar[int] = 8 * 1024
    head_timeout_seconds: ClassVar[float] = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.url = _NO_HEAD
        self._unfruitful = 0  # bytes read since the parser last handed on a whole head or a part of a body
        self._head_timer: asyncio.TimerHandle | None = None
        self._framing: bytes | None = None  # of a body that is still to come after a request to upgrade
        self._muted = False
        self._verdict = (HTTPStatus.BAD_REQUEST, "the request is not well-formed HTTP/1.1")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; the first head has to be complete in time."""
        super().connection_made(transport)
        self._arm_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and see to it that somebody waits for what is missing."""
        if self._rest is not None:
            unread = self._take_rest(data, self._rest)
            if unread is None:
                return
            data = unread
        self._unset_keepalive_if_required()
        self._read = len(data)
        self._unfruitful += self._read
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse()
            return
        if self.url is not _NO_HEAD:
            self._wait_for_head()
        elif self._unfruitful > self.max_header_bytes:  # a trailer without an end, or nothing but line ends
            self._verdict = self._too_large()
            self._refuse()
        elif self.cycle and self.cycle.more_body:
            self._be_patient(self.cycle)
        elif self.cycle and self.cycle.response_complete and not self.transport.is_closing():
            self._arm_keep_alive()

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                if self._framing is not None:
                    self.parser = self._parser_of_body(self._framing)
            else:
                return

    def _parser_of_body(self, framing: bytes) -> httptools.HttpRequestParser:
        """Make a parser that stands where the body begins; the old one takes every upgrade for granted, and skips the body."""
        self._framing, self._muted = None, True
        self.cycle.more_body = True  # the old parser had said that the request is complete; the app has not run since
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
        self._muted = False
        return parser

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field; does what uvicorn's does, without a call in between."""
        headers = self.headers
        if len(headers) >= self.max_headers:
            self._verdict = self._too_large()
            raise _Refused
        name = name.lower()
        if name in JUDGED:
            self._judge_field(name, value.strip(b" \t").lower())
        headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is complete: judge it, and let the app hear of the request."""
        if not self._muted:
            self._judge_head()
            if len(self.pipeline) >= MAX_PIPELINED:
                self._verdict = (HTTPStatus.BAD_REQUEST, f"more than {MAX_PIPELINED} requests wait on this connection")
                raise _Refused
            if self._head_timer is not None:
                self._disarm_head_timer()
            if self.parser.should_upgrade():  # nothing here is upgraded to, and the field may be ignored (RFC 9110, 7.8)
                self._framing = b"".join(b"%b: %b\r\n" % field for field in self.headers if field[0] in _FRAMING) or None
            cast("dict[str, Any]", self.scope)["moorage.abort"] = self.transport.abort  # protocol.exchange.ABORT_KEY
            before = self.cycle
            super().on_headers_complete()
            if self.pipeline:
                self._waits_behind(before)
        self._unfruitful = 0
        self.url = _NO_HEAD
        self.headers = []  # takes the trailers, and is thrown away with them

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; does what uvicorn's does, without a call in between."""
        self._unfruitful = 0
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is complete; does what uvicorn's does, and takes note also after the answer."""
        cycle = self.cycle
        cycle.more_body = False
        if cycle.response_complete:
            self._rest = None
            self._disarm_rest_timer()
        else:
            cycle.message_event.set()

    def _judge_field(self, name: bytes, value: bytes) -> None:
        if name in ONCE:
            if any(earlier == name for earlier, _ in self.headers):
                self._verdict = (HTTPStatus.BAD_REQUEST, f"the request has more than one {name.decode().title()} field")
                raise _Refused
            return
        wanted, status, reason = UNDERSTOOD[name]
        if value != wanted:
            self._verdict = (status, reason)
            raise _Refused
        self.expect_100_continue = self.expect_100_continue or name == b"expect"

    def _judge_head(self) -> None:
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            self._verdict = (HTTPStatus.BAD_REQUEST, f"HTTP/{version} is not spoken here, only its versions 1.0 and 1.1")
            raise _Refused
        if self.url[:1] != b"/" and names_another_host(self.url, self.headers):
            self._verdict = (HTTPStatus.MISDIRECTED_REQUEST, "the request target names another host than the Host field")
            raise _Refused
        if len(self.url) > self.max_target_bytes:
            self._verdict = self._too_long()
            raise _Refused
        limit = self.max_header_bytes
        if (self._read > limit or self._unfruitful > limit) and sum(len(name) + len(value) for name, value in self.headers) > limit:
            self._verdict = self._too_large()
            raise _Refused

    def _wait_for_head(self) -> None:
        """Go on waiting for the rest of a head, unless it is too large already."""
        if not self.headers and len(self.url) > self.max_target_bytes:
            self._verdict = self._too_long()
            self._refuse()
        elif self._unfruitful > self.max_header_bytes + self.max_target_bytes + _BETWEEN_FIELDS * self.max_headers:
            self._verdict = self._too_large()
            self._refuse()
        elif self._head_timer is None:
            self._arm_head_timer()

    def _too_long(self) -> tuple[HTTPStatus, str]:
        return HTTPStatus.REQUEST_URI_TOO_LONG, f"the request target is longer than {self.max_target_bytes} bytes"

    def _too_large(self) -> tuple[HTTPStatus, str]:
        limits = f"{self.max_header_bytes} bytes or more than {self.max_headers} fields"
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the header of the request is larger than {limits}"

    def _arm_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_seconds, self._on_head_timeout)

    def _disarm_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _arm_keep_alive(self) -> None:
        """Wait for the next request again: bytes that belong to none (line ends, a late body) had stopped the clock."""
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _on_head_timeout(self) -> None:
        self._head_timer = None
        if self.url is not _NO_HEAD:
            self._verdict = (HTTPStatus.REQUEST_TIMEOUT, f"no complete header within {self.head_timeout_seconds:g} seconds")
            self._refuse()
        elif not self.transport.is_closing():
            self.transport.close()  # nothing was ever asked

    def _refuse(self) -> None:
        """Answer with the verdict, unless an earlier request on this connection still has its answer to come."""
        status, reason = self._verdict
        _log.info("http.refused", status=status.value, reason=reason)
        self._disarm_head_timer()
        cycle = self.cycle
        if not cycle or cycle.response_complete:  # uvicorn's annotation leaves out that there may be none yet
            self._answer(status, reason)
        elif self.url is not _NO_HEAD:  # the last request that was well-formed is answered, then the connection closes
            cycle.keep_alive = False
            self._lingers, self._rest = True, 0
            self._be_patient(cycle)
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            cycle.disconnected = True  # the app may say what it likes, the answer is given here
            cycle.message_event.set()
            self._answer(status, reason)

    def _answer(self, status: HTTPStatus, reason: str) -> None:
        """Write the refusal."""
        if self.transport.is_closing():
            return
        body = f"{reason}\n".encode()
        fields = b"".join(name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers)
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + fields + b"connection: close\r\n\r\n" + body)
        self.linger()


def bounded_protocol(
    max_header_bytes: int, max_headers: int, *, write_timeout_seconds: float = 30.0, max_unread_bytes: int = 64 << 20
) -> type[BoundedProtocol]:
    """Make a protocol class with these limits on the head of a request, and on how long and how much a client may leave unread.

    Args:
        max_header_bytes: Of the names and values of all fields.
        max_headers: Fields.
        write_timeout_seconds: For a client that is behind to read 64 KiB.
        max_unread_bytes: Of answers that wait for all clients of this process that are behind.
    """
    limits = {
        "max_header_bytes": max_header_bytes,
        "max_headers": max_headers,
        "write_timeout_seconds": write_timeout_seconds,
        "max_unread_bytes": max_unread_bytes,
    }
    return type(BoundedProtocol.__name__, (BoundedProtocol,), limits)


def served_protocol(limits: HttpSettings, more_bytes: int = 0, more_fields: int = 0) -> type[BoundedProtocol]:
    """Make the class for one of our ports; `more_bytes` and `more_fields` of a head are let in beside a client's own."""
    return bounded_protocol(
        limits.max_header_bytes + more_bytes,
        limits.max_headers + more_fields,
        write_timeout_seconds=limits.write_timeout_seconds,
        max_unread_bytes=limits.max_unread_bytes,
    )

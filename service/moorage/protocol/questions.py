"""What a session's client was asked and has not answered: requests from server to client, each a future until a POST brings the reply.

A question ends with its reply, its own time-out, its call, the session's end or move, and after a whole gap without a stream that could
carry it: a client that lost its stream and never comes back would else keep the call, and the drain, waiting.

Source: MCP 2025-11-25, basic, "Messages"; client/elicitation, client/sampling, client/roots.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from mcp.shared.dispatcher import CallOptions, ProgressFnT, coerce_request_id
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

from moorage.streams.position import base36

if TYPE_CHECKING:
    from moorage.protocol.messages import ReplyMessage
    from moorage.protocol.session import Session

_QUESTION: Final = re.compile(r"(?P<asker>[0-9a-z]{1,64})-(?P<number>[0-9]{1,18})", re.ASCII)
"""The id of a request to the client: `<owner prefix>-<sequence number>`."""


class Carrier(Protocol):
    """A stream on which a question goes out: that of a call, or the session's GET stream."""

    @property
    def carries(self) -> bool:
        """Whether somebody reads it now."""
        ...

    async def emit(self, message: Mapping[str, Any]) -> None:
        """Send a message; may wait for the log."""
        ...


@dataclass(slots=True)
class _Pending:
    """A request of ours that waits for the client's reply; `unheard_since` is on the loop's clock, None while a stream carries it."""

    reply: asyncio.Future[ReplyMessage]
    on_progress: ProgressFnT | None
    carrier: Carrier
    unheard_since: float | None = None


class Questions:
    """The questions of one session. Holds no reference to the session, which refers to it."""

    __slots__ = ("_last", "_pending")

    def __init__(self) -> None:
        self._last = 0
        self._pending: dict[str | int, _Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    async def ask(
        self, session: Session, carrier: Carrier, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None
    ) -> dict[str, Any]:
        """Send a request to the client and wait for its reply.

        The wait is bounded by `opts["timeout"]`, by a gap of `sessions.question_gap_seconds` without a stream that carries it, and in any
        case by our hold on the session.

        Raises:
            MCPError: the client's error, the time-out, the gap, the session's end, or too many questions.
        """
        budgets, owner = session.around.budgets, session.owner
        refusal = budgets.refuses_question(owner)
        if refusal is not None:
            raise refusal.as_error()
        self._last += 1
        request_id, options = f"{asked_by(session)}{self._last}", opts or {}
        pending = _Pending(asyncio.get_running_loop().create_future(), options.get("on_progress"), carrier)
        self._pending[request_id] = pending
        budgets.questions.enter(owner)
        try:
            await carrier.emit(_request(request_id, method, params, with_progress=pending.on_progress is not None))
            if session.lease is not None and not session.lease.valid:
                raise moved()
            async with asyncio.timeout(options.get("timeout")):
                reply = await pending.reply
        except TimeoutError:
            cancelled = {"requestId": request_id, "reason": f"timed out after {options.get('timeout')}s"}
            await carrier.emit({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
            raise MCPError(code=REQUEST_TIMEOUT, message=f"Request {method!r} timed out") from None
        finally:
            self._pending.pop(request_id, None)
            budgets.questions.leave(owner)
        if reply.error is not None:
            raise MCPError(code=int(reply.error.get("code", 0)), message=str(reply.error.get("message", "")), data=reply.error.get("data"))
        return reply.result or {}

    def resolve(self, reply: ReplyMessage) -> bool:
        """Hand a reply to whoever waits for it; False when nobody does."""
        pending = self._pending.get(coerce_request_id(reply.id))
        if pending is None or pending.reply.done():
            return False
        pending.reply.set_result(reply)
        return True

    def asked(self, session: Session, request_id: str | int) -> bool:
        """Whether a question of this id was asked, answered or not: by this owner, or by an earlier one whose call nobody can wait for."""
        named = _QUESTION.fullmatch(str(request_id))
        if named is None:
            return False
        if named["asker"] == asked_by(session)[:-1]:
            return 0 < int(named["number"]) <= self._last
        return session.lease is not None and int(named["asker"], 36) < session.lease.epoch

    async def progressed(self, params: Mapping[str, Any]) -> None:
        """Hand a client's progress on a request of ours to whoever asked."""
        token = params.get("progressToken")
        pending = self._pending.get(coerce_request_id(cast("str | int", token))) if type(token) in (str, int) else None
        if pending is not None and pending.on_progress is not None:
            await pending.on_progress(params.get("progress", 0), params.get("total"), params.get("message"))

    def end(self, error: MCPError) -> None:
        """End all of them."""
        for pending in self._pending.values():
            _fail(pending, error)

    def end_unheard(self, now: float, gap_seconds: float) -> None:
        """End those that no stream could carry for a whole gap; to be called about once a second with the loop's clock."""
        for pending in self._pending.values():
            if pending.carrier.carries:
                pending.unheard_since = None
            elif pending.unheard_since is None:
                pending.unheard_since = now
            elif now - pending.unheard_since >= gap_seconds:
                message = f"No stream of the client could carry the question for {gap_seconds:g} seconds (sessions.question_gap_seconds)"
                _fail(pending, MCPError(code=CONNECTION_CLOSED, message=message))


def asked_by(session: Session) -> str:
    """What ids of questions begin with: unique over all owners that a session has, so that a late reply is never taken for another's."""
    return f"{session.around.asked_by}-" if session.lease is None else f"{base36(session.lease.epoch)}-"


def moved() -> MCPError:
    """The error of a question whose reply goes to another replica."""
    return MCPError(code=CONNECTION_CLOSED, message="The session has moved to another replica: no reply reaches this one")


def _fail(pending: _Pending, error: MCPError) -> None:
    if not pending.reply.done():
        pending.reply.set_exception(error)
        pending.reply.exception()  # whoever asked may have given up waiting: that is no fault to be logged


def _request(request_id: str, method: str, params: Mapping[str, Any] | None, *, with_progress: bool) -> dict[str, Any]:
    body = dict(params or {})
    if with_progress:
        body["_meta"] = {**(body.get("_meta") or {}), "progressToken": request_id}
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id, "method": method}
    if body:
        message["params"] = body
    return message

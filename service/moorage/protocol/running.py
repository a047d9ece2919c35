"""Which message a stack is busy with, seen from beside the event loop."""

from __future__ import annotations

from types import FrameType
from typing import Final

from moorage.protocol.call import Call, InFlight
from moorage.telemetry.operation import Operation

_RUN: Final = InFlight.run.__code__
"""Every call's handler is awaited in a frame of it, so it is on the stack while a tool runs, and naming the call costs the call nothing."""


def what_runs(innermost: FrameType) -> dict[str, str]:
    """Method, and tool or prompt where the server knows the name, of the call that a stack serves; empty for none.

    A task that a tool has started has a stack of its own, which leads to no call.
    """
    frame: FrameType | None = innermost
    while frame is not None:
        if frame.f_code is _RUN:
            call = frame.f_locals.get("call")
            operation = call.http.operation if isinstance(call, Call) else None
            return operation.subject() if isinstance(operation, Operation) else {}
        frame = frame.f_back
    return {}

"""Where plain functions run: tools, prompts and resources that are no coroutines.

So many at one time, so many more wait for a thread, and one more is refused before anything of it has run. A call that is given up (its
deadline, its client, a cancellation, a drain) is answered at once; nothing can stop its thread, which keeps its place until the function
returns. When all places are kept in this way only a new process helps.

Source: docs/decisions/2026-11-25-threads.md
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog
from mcp.server.auth.middleware.auth_context import auth_context_var

from moorage.lifecycle.threads import DaemonThreads, Work, missing_parts
from moorage.limits.room import Places, Room
from moorage.protocol import sdk
from moorage.protocol.refusals import denied

if TYPE_CHECKING:
    from moorage.limits.tenants import Tenants
    from moorage.settings import CallSettings

REPLACE_AFTER_SECONDS: Final = 5.0
"""How long all threads may be held by calls that were given up before the process is replaced: a function that is only a little late
returns within it, and calls that could run in another process are refused for no longer."""

log = structlog.get_logger("moorage.protocol")


class _Job(Work):
    """A call of a plain function.

    Attributes:
        holder: The principal whose call it is.
        done: Awaited by the caller.
        begun: Whether a thread has it.
        returned: Whether the thread is free again.
        abandoned: Whether nobody waits for it any more.
    """

    __slots__ = ("abandoned", "begun", "done", "holder", "returned")

    def __init__(self, function: Callable[[], Any], scope: anyio.CancelScope, holder: str, done: asyncio.Future[None]) -> None:
        super().__init__(function, scope)
        self.holder = holder
        self.done = done
        self.begun = self.returned = self.abandoned = False


class Threads:
    """The threads of one process, and who may have them.

    Args:
        calls: `threads` and `thread_queue`.
        reserve: What one principal cannot hold of the threads, and of threads and queue, while there are others (`tenants.reserve`).
        tenants: Tells whether there are.
    """

    def __init__(self, calls: CallSettings, reserve: float, tenants: Tenants) -> None:
        self._most = calls.threads
        self._inside = Places(Room(calls.threads + calls.thread_queue, reserve, tenants))
        self._threads = Places(Room(calls.threads, reserve, tenants))
        self._waiting: deque[_Job] = deque()
        self._abandoned = 0
        self._pool: DaemonThreads | None = None
        self._exhausted_at: float | None = None

    def states(self) -> dict[str, int]:
        """How many functions run, how many calls wait for a thread, and how many functions run whose caller has its answer."""
        return {
            "running": self._threads.total - self._abandoned,
            "waiting": len(self._waiting),
            "abandoned": self._abandoned,
        }

    def trouble(self) -> str | None:
        """What readiness says; None while a call could get a thread."""
        if self._exhausted_at is None:
            return None
        return f"all {self._most} threads (calls.threads) are held by calls that were given up and have not returned"

    @property
    def exhausted_seconds(self) -> float:
        """For how long no call could get a thread; 0 while one can."""
        return 0.0 if self._exhausted_at is None else monotonic() - self._exhausted_at

    async def run_sync(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a plain function in a thread; waits for one, and for the function, unless the caller is cancelled.

        Raises:
            RefusedError: There is no room; nothing has run.
        """
        holder = _holder()
        verdict = "full" if self._exhausted_at is not None else self._inside.denies(holder)
        if verdict is not None:
            raise denied("calls of plain functions", "threads", verdict).as_error()
        work = partial(function, *arguments) if arguments else function
        job = _Job(work, anyio.CancelScope(), holder, asyncio.get_running_loop().create_future())
        with job.scope:
            self._inside.enter(holder)
            if self._threads.denies(holder) is None:  # whoever waits may not have this one, or would have it
                self._begin(job)
            else:
                self._waiting.append(job)
            try:
                await job.done
            finally:
                if not job.returned:
                    self._give_up(job)
        return _outcome(job)

    def refuse_waiting(self) -> None:
        """Refuse every call that waits for a thread: this process has none to give."""
        while self._waiting:
            job = self._waiting.popleft()
            job.error = denied("calls of plain functions", "threads", "full").as_error()
            self._leave(job)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Have the SDK run plain functions here, on the running loop; leaving waits for no thread.

        With a release of the SDK or of anyio that is not known they stay in the SDK's own threads, without these bounds.
        """
        missing = sdk.missing_thread_parts() + missing_parts()
        if missing:
            log.warning("mcp.sdk_changed", missing=missing, effect="calls.threads and calls.thread_queue bound nothing")
            yield
            return
        with sdk.threads_by(self.run_sync):
            yield
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _begin(self, job: _Job) -> None:
        job.begun = True
        self._threads.enter(job.holder)
        pool = self._pool = self._pool or DaemonThreads(self._returned)
        try:
            pool.begin(job)
        except RuntimeError as error:  # no more threads in this container: an error of this call
            job.error = error
            asyncio.get_running_loop().call_soon(self._returned, job)

    def _returned(self, job: _Job) -> None:
        self._threads.leave(job.holder)
        if job.abandoned:
            self._abandoned -= 1
            self._exhausted_at = None
        self._leave(job)
        for waiting in [*self._waiting]:
            verdict = self._threads.denies(waiting.holder)
            if verdict is None:
                self._waiting.remove(waiting)
                self._begin(waiting)
            elif verdict == "full":
                break

    def _leave(self, job: _Job) -> None:
        job.returned = True
        self._inside.leave(job.holder)
        if not job.done.done():
            job.done.set_result(None)

    def _give_up(self, job: _Job) -> None:
        """The caller was cancelled: its place in the queue is free, its thread is not."""
        if not job.begun:
            self._waiting.remove(job)
            self._leave(job)
            return
        job.abandoned = True
        self._abandoned += 1
        if self._abandoned == self._most:
            self._exhausted_at = monotonic()
            log.error("threads.exhausted", threads=self._most, effect=f"replaced after {REPLACE_AFTER_SECONDS:g} s unless one returns")


def _outcome(job: _Job) -> Any:
    if job.error is None:
        return job.result
    try:
        raise job.error
    finally:
        del job  # the traceback holds this frame, and the job would hold the traceback


def _holder() -> str:
    """Who calls; everybody without a key is one."""
    user = auth_context_var.get()
    return "" if user is None else user.access_token.client_id

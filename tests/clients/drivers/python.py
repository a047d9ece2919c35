# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportArgumentType=false, reportAssignmentType=false
# It is read against the SDK of .venv, which is another one.
"""The Python SDK's last 1.x client, as its documentation uses it; runs in .venv-clients and speaks what `driver.py` speaks."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from typing import Any

import httpx
from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamable_http_client

READ_SECONDS = 300.0


def write(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def sample(context: Any, params: Any) -> types.CreateMessageResult:
    return types.CreateMessageResult(role="assistant", model="m", content=types.TextContent(type="text", text="42"))


class Connection:
    """One session; a task of its own holds the client's context managers, which must be left where they were entered."""

    def __init__(self, number: int, url: str, *, thinks: bool) -> None:
        self._number = number
        self._url = url
        self.answered = asyncio.Event()
        if not thinks:
            self.answered.set()
        self._leave = asyncio.Event()
        self._ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold())
        self.session: ClientSession

    async def ready(self) -> dict[str, Any]:
        await asyncio.wait([self._ready, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done():
            self._task.result()
        return self._ready.result()

    async def end(self) -> None:
        self._leave.set()
        await self._task

    async def _hold(self) -> None:
        timeout = httpx.Timeout(30, read=READ_SECONDS)
        async with (
            httpx.AsyncClient(timeout=timeout, trust_env=False, event_hooks={"response": [self._exchanged]}) as http,
            streamable_http_client(self._url, http_client=http) as (read, write_to, session_id),
            ClientSession(
                read, write_to, sampling_callback=sample, elicitation_callback=self._elicit, message_handler=self._heard
            ) as self.session,
        ):
            opened = await self.session.initialize()
            self._ready.set_result({"revision": opened.protocolVersion, "session": session_id()})
            await self._leave.wait()

    async def _elicit(self, context: Any, params: Any) -> types.ElicitResult:
        write({"event": "asked", "on": self._number})
        await self.answered.wait()
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async def _exchanged(self, answer: httpx.Response) -> None:
        request = answer.request
        position = "last-event-id" in request.headers
        write({"event": "exchange", "on": self._number, "method": request.method, "status": answer.status_code, "position": position})

    async def _heard(self, message: Any) -> None:
        if isinstance(message, Exception):
            write({"event": "error", "on": self._number, "message": str(message)})
        elif isinstance(message, types.ServerNotification) and isinstance(message.root, types.ToolListChangedNotification):
            write({"event": "changed", "on": self._number})


class Driver:
    """Carries out commands."""

    def __init__(self) -> None:
        self._connections: dict[int, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            task = asyncio.create_task(self._carry_out(json.loads(line)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, command: dict[str, Any]) -> None:
        try:
            value = await getattr(self, f"do_{command['do']}")(command)
            write({"id": command["id"], "value": value})
        except McpError as error:
            write({"id": command["id"], "error": {"code": error.error.code, "message": f"{command['do']}: {error.error.message}"}})
        except Exception as error:  # boundary: what a client raises is an observation
            write({"id": command["id"], "error": {"code": None, "message": f"{command['do']}: {error!r}"}})

    async def do_connect(self, command: dict[str, Any]) -> dict[str, Any]:
        connection = self._connections[command["id"]] = Connection(command["id"], command["url"], thinks=command["thinks"])
        return await connection.ready()

    async def do_tools(self, command: dict[str, Any]) -> list[str]:
        return [tool.name for tool in (await self._connections[command["on"]].session.list_tools()).tools]

    async def do_call(self, command: dict[str, Any]) -> dict[str, Any]:
        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            write({"event": "progress", "of": command["id"], "on": command["on"], "progress": progress, "total": total, "message": message})

        session, seconds = self._connections[command["on"]].session, timedelta(seconds=command["seconds"])
        result = await session.call_tool(command["tool"], command["arguments"], seconds, progress_callback=progressed)
        text = "".join(part.text for part in result.content if isinstance(part, types.TextContent))
        return {"text": text, "failed": result.isError}

    async def do_answer(self, command: dict[str, Any]) -> None:
        self._connections[command["on"]].answered.set()

    async def do_end(self, command: dict[str, Any]) -> None:
        await self._connections.pop(command["on"]).end()


if __name__ == "__main__":
    asyncio.run(Driver().run())

"""A session of the handshake era as a careful client holds it: by its id alone, over as many connections as it takes.

It keeps no cookies, comes back to a stream that ended with the id of the last event, and tries again what was refused for the moment.
Whatever
else goes wrong is raised.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2

from tests.cluster.caller import LEGACY, result

ACCEPT = {"accept": "text/event-stream"}
PAUSE_SECONDS = 0.2


class StreamLostError(AssertionError):
    """A stream ended and cannot be resumed."""


@dataclass
class Conversation:
    """One session.

    Attributes:
        http: Connections; cookies are thrown away.
        heard: The integers of the session's own stream, in the order in which they came.
        resumed: How often a stream was come back to.
        refused: How often a request was refused for the moment and made again.
    """

    http: httpx2.AsyncClient
    session: str = ""
    heard: list[int] = field(default_factory=list)
    resumed: int = 0
    refused: int = 0
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def open(self) -> None:
        """The handshake."""
        client = {"name": "cluster-tests", "version": "1.0.0"}
        opened = await self.send("initialize", {"protocolVersion": LEGACY, "capabilities": {"elicitation": {}}, "clientInfo": client})
        assert result(opened)["protocolVersion"] == LEGACY
        self.session = opened.headers["mcp-session-id"]
        accepted = await self.send("notifications/initialized")
        assert accepted.status_code == 202, accepted.text

    async def send(self, method: str, params: dict[str, Any] | None = None) -> httpx2.Response:
        """One POST whose answer is read to its end."""
        return await self._send(self._post(method, params or {}))

    async def reply(self, request: int | str, value: dict[str, Any]) -> httpx2.Response:
        """Answer a question of the server's."""
        message = {"jsonrpc": "2.0", "id": request, "result": value}
        return await self._send(self.http.build_request("POST", "/mcp", json=message, headers=self._headers()))

    async def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool that answers at once; returns its structured result."""
        return _structured(result(await self.send("tools/call", {"name": tool, "arguments": arguments})))

    async def messages(self, tool: str, **arguments: Any) -> AsyncGenerator[dict[str, Any]]:
        """Call a tool and hand out the messages of its stream, the answer last, wherever the stream goes on."""
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}}
        request = self._post("tools/call", params)
        wanted = json.loads(request.content)["id"]
        async with aclosing(self._stream(request)) as arriving:
            async for message in arriving:
                yield message
                if message.get("id") == wanted and "method" not in message:
                    return

    async def listen(self, ready: anyio.Event) -> None:
        """Hear the session's own stream until cancelled; `ready` is set once it is open."""
        async with aclosing(self._stream(self._get(), ready)) as arriving:
            async for message in arriving:
                if message.get("method") == "notifications/message":
                    self.heard.append(message["params"]["data"])

    async def end(self) -> httpx2.Response:
        """DELETE."""
        return await self._send(self.http.build_request("DELETE", "/mcp", headers=self._headers()))

    def _post(self, method: str, params: dict[str, Any]) -> httpx2.Request:
        body: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if not method.startswith("notifications/"):
            body["id"] = next(self._ids)
        return self.http.build_request("POST", "/mcp", json=body, headers=self._headers())

    def _get(self, position: str | None = None) -> httpx2.Request:
        resume = {"last-event-id": position} if position else {}
        return self.http.build_request("GET", "/mcp", headers={**self._headers(), **ACCEPT, **resume})

    def _headers(self) -> dict[str, str]:
        return {"mcp-session-id": self.session, "mcp-protocol-version": LEGACY} if self.session else {}

    async def _send(self, request: httpx2.Request, *, stream: bool = False) -> httpx2.Response:
        """Send, and again while it is refused for the moment: such a request was not acted on."""
        while True:
            self.http.cookies.clear()
            response = await self.http.send(request, stream=stream)
            if "retry-after" not in response.headers:
                return response
            await response.aclose()
            self.refused += 1
            await anyio.sleep(PAUSE_SECONDS)

    async def _stream(self, request: httpx2.Request, ready: anyio.Event | None = None) -> AsyncGenerator[dict[str, Any]]:
        """The messages of one stream, over as many connections as that takes."""
        position: str | None = None
        while True:
            response = await self._open(request)
            try:
                if not response.headers["content-type"].startswith("text/event-stream"):
                    yield json.loads(await response.aread())
                    return
                if ready:
                    ready.set()
                async for event in httpx2.EventSource(response):
                    position = event.id or position
                    if event.data:
                        yield json.loads(event.data)
            except httpx2.TransportError:
                pass  # cut: what came before counts
            finally:
                await response.aclose()
            if position is None:
                raise StreamLostError("a stream ended before its first event")
            self.resumed += 1
            request = self._get(position)

    async def _open(self, request: httpx2.Request) -> httpx2.Response:
        while True:
            try:
                response = await self._send(request, stream=True)
            except httpx2.TransportError:
                if request.method != "GET":
                    raise
                await anyio.sleep(PAUSE_SECONDS)
                continue
            if response.status_code != 200:
                raise StreamLostError(f"{request.method}: {response.status_code} {(await response.aread()).decode()}")
            return response


def _structured(found: dict[str, Any]) -> Any:
    assert not found.get("isError"), found
    return found["structuredContent"]["result"]

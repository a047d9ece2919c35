"""A network between a replica and its store that can be broken; lives in the event loop that made it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tests.services.processes import LOOPBACK, free_ports

_CHUNK_BYTES = 65_536


class Partition:
    """Passes TCP on from `port` to another port of the loopback address, until told otherwise.

    It passes bytes on as they are, unless `alter` says what becomes of an answer: a store that tells its clients other addresses
    (sentinel, cluster) is reached past it.
    """

    def __init__(self, target_port: int, alter: Callable[[bytes], bytes] = bytes) -> None:
        self._target_port = target_port
        self._alter = alter
        [self.port] = free_ports(1)
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._links: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._links)

    async def cut(self) -> None:
        """Reset every connection and refuse new ones, as when a host is gone."""
        if self._server is not None:
            self._server.close()
            self._server = None
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def stall(self) -> None:
        """Pass nothing on, and keep everything open and accept more, as when packets are lost; bytes come late, if `heal` comes."""
        self._flows.clear()

    async def heal(self) -> None:
        """Pass everything on again."""
        self._flows.set()
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        writers = [writer]
        try:
            if self._server is None:
                raise ConnectionResetError  # accepted just before the cut
            await self._flows.wait()
            there_reader, there_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
            writers.append(there_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, there_writer, bytes))
                both.create_task(self._pass_on(there_reader, writer, self._alter))
        except (asyncio.CancelledError, OSError, BaseExceptionGroup):
            for each in writers:  # one end is gone, or the network is cut: so is the other end, and at once
                _reset_when_closed(each)
        finally:
            for each in writers:
                each.transport.abort()
            self._links.discard(link)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, alter: Callable[[bytes], bytes]) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            await self._flows.wait()
            writer.write(alter(chunk))
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()


def _reset_when_closed(writer: asyncio.StreamWriter) -> None:
    it = writer.get_extra_info("socket")
    with suppress(OSError):
        it.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

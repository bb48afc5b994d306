"""A small HTTP/1.1 server on loopback over raw asyncio streams: keep-alive, chunks, broken answers on purpose."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

REASONS = {200: b"OK", 400: b"Bad Request", 404: b"Not Found", 429: b"Too Many Requests", 500: b"Internal Server Error"}
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close() sends RST instead of FIN


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request: its path, headers in lower case, body, and the number of the connection that it came on."""

    path: str
    headers: dict[str, str]
    raw: bytes
    connection: int
    left: threading.Event = field(default_factory=threading.Event)
    """Set when the client goes away before its answer is complete."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A complete body; with `cut`, half of it and then the connection is lost."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False
    kind: str = "application/json"


@dataclass(frozen=True, slots=True)
class Stream:
    """Server-sent events, each written as it stands; then the stream ends, is lost, or falls silent."""

    events: Sequence[bytes]
    end: Literal["finish", "lose", "stall"] = "finish"


@dataclass(frozen=True, slots=True)
class Broken:
    """No answer at all: the connection is reset, or nothing comes until the client leaves."""

    how: Literal["reset", "hang"]


Response: TypeAlias = Whole | Stream | Broken


@dataclass(slots=True)
class Loopback:
    """Serves `answer` on 127.0.0.1."""

    answer: Callable[[Exchange], Response]
    write_size: int | None = None
    """Bytes in one HTTP chunk of a stream; None = one event each."""
    connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def serve(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._connected, "127.0.0.1", port, limit=1 << 20, backlog=1024)

    async def close(self) -> None:
        """Drops every open connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while exchange := await _read(reader, self.connections):
                if not await self._respond(exchange, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the server closes: nothing is owed to anyone
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _respond(self, exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Writes the answer; False when the connection must not go on."""
        match self.answer(exchange):
            case Whole(cut=True) as half:
                writer.write(_head(half) + half.body[: len(half.body) // 2])
                await writer.drain()
                return False
            case Whole() as whole:
                writer.write(_head(whole) + whole.body)
                await writer.drain()
                return True
            case Stream() as stream:
                return await self._stream(stream, exchange, reader, writer)
            case Broken("reset"):
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                return False
            case Broken():
                await self._wait_until_left(exchange, reader)
                return False

    async def _stream(
        self, stream: Stream, exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            for chunk in _chunks(stream.events, self.write_size):
                writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                await writer.drain()
        except ConnectionError:
            exchange.left.set()
            raise
        if stream.end == "stall":
            await self._wait_until_left(exchange, reader)
        if stream.end != "finish":
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _wait_until_left(self, exchange: Exchange, reader: asyncio.StreamReader) -> None:
        try:
            await reader.read(1)
        finally:
            exchange.left.set()


async def _read(reader: asyncio.StreamReader, connection: int) -> Exchange | None:
    """The next request; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    raw = await reader.readexactly(int(headers.get("content-length", 0)))
    return Exchange(first.split(" ")[1], headers, raw, connection)


def _head(response: Whole) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (response.status, REASONS.get(response.status, b"Error"))]
    lines += [b"content-type: %b" % response.kind.encode(), b"content-length: %d" % len(response.body)]
    lines += [f"{name}: {value}".encode() for name, value in response.headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _chunks(events: Sequence[bytes], size: int | None) -> Sequence[bytes]:
    if size is None:
        return events
    whole = b"".join(events)
    return [whole[at : at + size] for at in range(0, len(whole), size)]

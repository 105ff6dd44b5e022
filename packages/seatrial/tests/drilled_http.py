"""HTTP/1.1, event streams and WebSockets of the drilled service."""

import asyncio
import base64
import contextlib
import hashlib
import struct
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

HEAD_S = BODY_S = 1.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class Response:
    status: int
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    raw: bytes
    body: bytes = b""

    @property
    def path(self) -> str:
        return unquote_to_bytes(urlsplit(self.target).path.encode("latin-1")).decode("utf-8", "replace")


class Connections:
    """All connections of a worker."""

    def __init__(self, worker: Any, defects: set[str]) -> None:
        self.worker = worker
        self.defects = defects
        self.tasks: set[asyncio.Task[None]] = set()
        self.idle: set[asyncio.Task[None]] = set()

    async def finish(self, grace_s: float) -> None:
        """Close connections without a request, and wait for the others."""
        if "cut requests" in self.defects:
            self.idle |= self.tasks
        if "waits for half requests" in self.defects:
            await asyncio.wait(self.tasks)
        for task in self.idle:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace_s)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            # A client that has gone, or sends too slowly.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer, task)
        finally:
            self.tasks.discard(task)
            self.idle.discard(task)
            writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: asyncio.Task[None]
    ) -> None:
        count = 0
        while True:
            if self.worker.is_stopping.is_set() and "resets new connections" in self.defects and not count:
                return
            self.idle.add(task)
            try:
                request = await self._read(reader)
            except (TimeoutError, ValueError, asyncio.LimitOverrunError):
                await self._write(writer, Response(408), is_last=True)
                return
            self.idle.discard(task)
            if self.worker.is_stopping.is_set() and "closes kept connections" in self.defects and count:
                return
            count += 1
            if not await self._handle(request, writer):
                return

    async def _read(self, reader: asyncio.StreamReader) -> Request:
        first = await reader.readexactly(1)
        is_patient = "waits for half requests" in self.defects
        async with asyncio.timeout(None if is_patient or "no header timeout" in self.defects else HEAD_S):
            raw = first + await reader.readuntil(b"\r\n\r\n")
        line, *lines = raw[:-4].decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        request = Request(method, target, headers, raw)
        async with asyncio.timeout(None if is_patient or "no body timeout" in self.defects else BODY_S):
            request.body = await reader.readexactly(int(headers.get("content-length", "0")))
        return request

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Return whether the connection is kept."""
        if request.path == "/stream":
            await self._stream(writer)
            return False
        if request.path == "/ws" and request.headers.get("upgrade") == "websocket":
            await self._websocket(request, writer)
            return False
        started = time.time_ns()
        route, response = await self.worker.answer(request.method, request.path, request.headers)
        is_stopping = self.worker.is_stopping.is_set() and "closes kept connections" not in self.defects
        is_last = request.headers.get("connection") == "close" or is_stopping
        self.worker.counters.count(request, route, response.status)
        span = self.worker.exporter.record(request, route, response.status, started)
        if span is None:
            response = Response(500)
        self.worker.log.access(request, route, response.status, trace_id=span or "")
        await self._write(writer, response, is_last=is_last, is_head=request.method == "HEAD")
        return not is_last

    async def serve_admin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            request = await self._read(reader)
            is_found = request.path == "/metrics"
            body = self.worker.counters.text() if is_found else b""
            response = Response(200 if is_found else 404, body, {"Content-Type": "text/plain; version=0.0.4"})
            await self._write(writer, response, is_last=True)

    @staticmethod
    async def _write(
        writer: asyncio.StreamWriter, response: Response, *, is_last: bool, is_head: bool = False
    ) -> None:
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"} | response.headers
        headers["Content-Length"] = str(len(response.body))
        if is_last:
            headers["Connection"] = "close"
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body = b"" if is_head else response.body
        writer.write(f"HTTP/1.1 {response.status} X\r\n{head}\r\n".encode() + body)
        await writer.drain()

    async def _until_stop(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.worker.is_stopping.wait(), timeout_s)
            return True
        return False

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        while not await self._until_stop(0.05):
            writer.write(b"9\r\ndata: a\n\n\r\n")
            await writer.drain()
        if "cut stream" not in self.defects:
            writer.write(b"0\r\n\r\n")
            await writer.drain()

    async def _websocket(self, request: Request, writer: asyncio.StreamWriter) -> None:
        digest = hashlib.sha1(request.headers["sec-websocket-key"].encode() + _GUID).digest()
        accept = base64.b64encode(digest).decode()
        writer.write(
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        # A text frame precedes the close frame.
        writer.write(b"\x81\x05hello")
        await self._until_stop(3600)
        if "no close frame" not in self.defects:
            writer.write(b"\x88\x02" + struct.pack("!H", 1012))
            await writer.drain()

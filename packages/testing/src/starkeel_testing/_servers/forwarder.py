"""TCP forwarder between a client and one of several servers."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from threading import Thread
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_CLOSE_S = 5.0


class TcpForwarder:
    """A port of 127.0.0.1 whose connections lead to the port `target` of 127.0.0.1.

    A new target applies to new connections, as when a name leads to another server; open connections stay.
    With the target `None` new connections are closed at once.

    Args:
        target: Port of the server.
    """

    def __init__(self, target: int | None) -> None:
        self.target = target
        self.delay_s = 0.0
        """Seconds by which everything that the server sends arrives later."""
        self.accepted = 0
        """Number of connections so far."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def url(self, url: str) -> str:
        """Return a server's URL with the address of the forwarder in place of the server's."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{self.port}".lstrip("@")))

    def cut(self) -> None:
        """Close all connections."""
        self._run(self._cut())

    def close(self) -> None:
        """Close the port and all connections; idempotent."""
        if self._loop.is_closed():
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CLOSE_S)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        # Not in the task, which may be cancelled before it begins.
        self._writers.add(writer)
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.target is None:
            self._end(writer)
            return
        try:
            answers, requests = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            self._end(writer)
            return
        self._writers.add(requests)
        await asyncio.gather(self._pump(reader, requests, 0.0), self._pump(answers, writer, None))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float | None
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                # Later, not slower: what arrives together is also delivered together.
                self._loop.call_later(self.delay_s if delay_s is None else delay_s, writer.write, data)
        self._loop.call_later(self.delay_s, self._end, writer)

    def _end(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        self._writers.discard(writer)

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _close(self) -> None:
        # A connection that asyncio is about to accept is never closed if its server is closed meanwhile, nor
        # if the task is cancelled.
        for listener in self._server.sockets:
            self._loop.remove_reader(listener)
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        self._server.close()
        await self._cut()

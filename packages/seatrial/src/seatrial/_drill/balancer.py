"""A load balancer in front of several instances."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Sequence
from itertools import count
from typing import Any

from .._target.address import Address
from .._target.message import parse_responses

_PROBE_S = 0.1
_PROBE_TIMEOUT_S = 2.0
_CLOSE_S = 5.0
_OK = (200, 204)


class Balancer:
    """Passes each connection to the next instance whose last readiness probe was answered 200 or 204.

    Probes are sent ten times a second, and one that fails excludes the instance. A connection that the
    instance refuses is closed: nothing is tried again, as a balancer may not repeat every request.

    Args:
        ports: Ports of the instances.
        probe: Request of the readiness probe, which closes its connection.
    """

    def __init__(self, ports: Sequence[int], probe: bytes) -> None:
        self._ports = ports
        self._probe = probe
        self._next = count()
        self.healthy: frozenset[int] = frozenset()
        """Ports of the instances that get connections."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512))
        port = int(self._server.sockets[0].getsockname()[1])
        self.address = Address("http", "127.0.0.1", port, "", "127.0.0.1")
        self._probes = [asyncio.run_coroutine_threadsafe(self._watch(port), self._loop) for port in ports]

    def close(self) -> None:
        """Close the port and all connections."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CLOSE_S)

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _watch(self, port: int) -> None:
        while True:
            is_ready = await self._is_ready(port)
            self.healthy = self.healthy | {port} if is_ready else self.healthy - {port}
            await asyncio.sleep(_PROBE_S)

    async def _is_ready(self, port: int) -> bool:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                with contextlib.closing(writer):
                    writer.write(self._probe)
                    responses = parse_responses(await reader.read(), is_closed=True)
        except OSError:
            return False
        return bool(responses) and responses[0].status in _OK

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            ports = [port for port in self._ports if port in self.healthy]
            if not ports:
                return
            answers, requests = await asyncio.open_connection(
                "127.0.0.1", ports[next(self._next) % len(ports)]
            )
            with contextlib.closing(requests):
                pumps = {
                    asyncio.ensure_future(_pump(reader, requests)),
                    asyncio.ensure_future(_pump(answers, writer)),
                }
                _, left = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in left:
                    pump.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

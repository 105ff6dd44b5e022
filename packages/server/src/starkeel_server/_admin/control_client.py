"""Client of the workers' control servers."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from .._control.server import ControlRequest, ControlResponse, control_socket
from .._ipc.worker_process import WorkerProcess

TIMEOUT_S: Final = 2.0
"""Seconds a worker may take to respond; a suspended one never does."""


Replies = list[tuple[WorkerProcess, ControlResponse]]


class ControlClient:
    """Sends requests to the running workers, which `workers` returns."""

    def __init__(self, directory: Path, workers: Callable[[], Iterable[WorkerProcess]]) -> None:
        self._directory = directory
        self._workers = workers

    async def call(self, name: str, params: Mapping[str, str] | None = None) -> Replies:
        """Send a request to every worker concurrently; each may take two seconds."""
        request = msgspec.json.encode(ControlRequest(name, dict(params or {}))) + b"\n"
        return list(await asyncio.gather(*(self._call(worker, request) for worker in self._workers())))

    async def _call(self, worker: WorkerProcess, request: bytes) -> tuple[WorkerProcess, ControlResponse]:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                connection = _connect(self._directory, worker.slot.number)
                reader, writer = await asyncio.open_unix_connection(sock=connection)
                try:
                    writer.write(request)
                    await writer.drain()
                    response = msgspec.json.decode(await reader.read(), type=ControlResponse)
                finally:
                    writer.close()
        except TimeoutError:
            response = ControlResponse(error=f"did not answer within {TIMEOUT_S:g} s")
        except (OSError, msgspec.DecodeError):
            response = ControlResponse(error="starting or stopping")
        return worker, response


def _connect(directory: Path, slot: int) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.setblocking(False)
        with control_socket(directory, slot) as (_, address):
            # Raises BlockingIOError if the backlog is full.
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection

"""Client of the workers' control servers."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from .._control.server import ControlRequest, ControlResponse, control_socket
from .._ipc.worker_process import WorkerProcess

TIMEOUT_S: Final = 2.0
"""Seconds a worker may take to respond; a suspended one never does."""


class WorkerReply(msgspec.Struct, frozen=True):
    index: int
    pid: int
    response: ControlResponse

    def render(self) -> dict[str, Any]:
        """Return the content, or the error, with the worker's index and pid."""
        worker = {"index": self.index, "worker_pid": self.pid}
        error = self.response.error
        return worker | ({"error": error} if error is not None else self.response.content or {})


class ControlClient:
    """Sends requests to the running workers.

    Args:
        directory: Runtime directory with the control sockets.
        workers: Returns the running workers.
    """

    def __init__(self, directory: Path, workers: Callable[[], Iterable[WorkerProcess]]) -> None:
        self._directory = directory
        self._workers = workers

    async def call(self, name: str, params: Mapping[str, str] | None = None) -> list[WorkerReply]:
        """Send a request to every worker concurrently; each may take two seconds."""
        request = msgspec.json.encode(ControlRequest(name, dict(params or {}))) + b"\n"
        return list(await asyncio.gather(*(self._call(worker, request) for worker in self._workers())))

    async def _call(self, worker: WorkerProcess, request: bytes) -> WorkerReply:
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
        return WorkerReply(worker.index, worker.pid, response)


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

"""Client of the workers' control servers."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from .._control.server import ControlRequest, ControlResponse, bindable, control_socket_path
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
        workers = list(self._workers())
        return list(await asyncio.gather(*(self._call_worker(worker, request) for worker in workers)))

    async def _call_worker(self, worker: WorkerProcess, request: bytes) -> WorkerReply:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                response = await _exchange(control_socket_path(self._directory, worker.slot.number), request)
        except TimeoutError:
            response = ControlResponse(error=f"did not answer within {TIMEOUT_S:g} s")
        except (OSError, msgspec.DecodeError):
            response = ControlResponse(error="starting or stopping")
        return WorkerReply(worker.index, worker.pid, response)


async def _exchange(path: Path, request: bytes) -> ControlResponse:
    reader, writer = await asyncio.open_unix_connection(sock=_connect(path))
    try:
        writer.write(request)
        await writer.drain()
        return msgspec.json.decode(await reader.read(), type=ControlResponse)
    finally:
        writer.close()


def _connect(path: Path) -> socket.socket:
    name, descriptor = bindable(path)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.setblocking(False)
        # Raises BlockingIOError if the backlog is full.
        connection.connect(name)
    except BaseException:
        connection.close()
        raise
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return connection

"""Main asks its workers, each at its desk."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from .._control.server import ControlRequest, ControlResponse, bindable, control_socket_path
from .._ipc.worker_process import WorkerProcess

WAIT_S: Final = 2.0
"""Seconds that a worker may take; one that is stopped altogether never answers."""


class WorkerReply(NamedTuple):
    """What one worker answered, or why it did not."""

    number: int
    pid: int
    answer: ControlResponse

    @property
    def who(self) -> dict[str, int]:
        """Which worker it is, as pages tell it."""
        return {"index": self.number, "worker_pid": self.pid}


class ControlClient:
    """The desks of all workers that run.

    Args:
        directory: Main's.
        workers: Tells which workers run.
    """

    def __init__(self, directory: Path, workers: Callable[[], Iterable[WorkerProcess]]) -> None:
        self._directory = directory
        self._workers = workers

    async def ask(self, name: str, given: Mapping[str, str] | None = None) -> list[WorkerReply]:
        """Ask every worker at once; nobody is waited for longer than two seconds.

        Args:
            name: Of the question.
            given: Its parameters.
        """
        question = msgspec.json.encode(ControlRequest(name, dict(given or {}))) + b"\n"
        workers = list(self._workers())
        return list(await asyncio.gather(*(self._told(worker, question) for worker in workers)))

    async def _told(self, worker: WorkerProcess, question: bytes) -> WorkerReply:
        try:
            async with asyncio.timeout(WAIT_S):
                answer = await _exchanged(control_socket_path(self._directory, worker.slot_number), question)
        except TimeoutError:
            answer = ControlResponse(error=f"did not answer within {WAIT_S:g} s")
        except (OSError, msgspec.DecodeError):
            answer = ControlResponse(error="starting or ending")
        return WorkerReply(worker.index, worker.pid, answer)


async def _exchanged(path: Path, question: bytes) -> ControlResponse:
    reader, writer = await asyncio.open_unix_connection(sock=_connected(path))
    try:
        writer.write(question)
        await writer.drain()
        return msgspec.json.decode(await reader.read(), type=ControlResponse)
    finally:
        writer.close()


def _connected(path: Path) -> socket.socket:
    name, descriptor = bindable(path)
    made = socket.socket(socket.AF_UNIX)
    try:
        made.setblocking(False)
        # At once or not at all: BlockingIOError when too many wait there already.
        made.connect(name)
    except BaseException:
        made.close()
        raise
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return made


def contents(told: Iterable[WorkerReply]) -> list[dict[str, Any]]:
    """What each worker answered, as pages tell it; one that did not is named with the reason."""
    return [
        one.who | ({"error": one.answer.error} if one.answer.error is not None else one.answer.content or {})
        for one in told
    ]

"""Where a worker answers what main asks it on behalf of an operator.

A worker listens on a socket in main's private directory, and a thread of its own answers: also while the
event loop is stuck, which is when one wants to know most.
"""

import asyncio
import inspect
import os
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread, get_ident
from typing import Any, Final

import msgspec
import structlog

from .tasks import tasks_of

log = structlog.get_logger(__name__)

ControlHandler = Callable[[Mapping[str, str]], Any]
"""What answers a question, given its parameters; a coroutine function is called in the event loop."""

ANSWER_S: Final = 1.5
"""Seconds that an answer which needs the event loop may take; main waits a little longer."""
_MOST_BYTES: Final = 65_536
_BACKLOG: Final = 16
_PAUSE_S: Final = 0.5


class ControlRequest(msgspec.Struct, frozen=True):
    """What main asks."""

    name: str
    given: dict[str, str] = {}


class ControlResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker says.

    Args:
        content: The answer, if there is one.
        error: Why there is none.
        is_unknown: Whether that is because nobody in this service answers such a question.
    """

    content: Any = None
    error: str | None = None
    is_unknown: bool = False


def control_socket_path(directory: Path, slot: int) -> Path:
    """The socket of the worker in a slot.

    Args:
        directory: Main's.
        slot: The worker's place on the board.
    """
    return directory / f"control-{slot}"


def bindable(path: Path) -> tuple[str, int | None]:
    """A name for a path that fits into a socket's address, and a descriptor to close afterwards.

    Args:
        path: Of a socket; the address holds 107 bytes of it at most, 103 on macOS.
    """
    if len(os.fsencode(path)) <= 100 or not Path("/proc/self/fd").is_dir():
        return str(path), None
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    return f"/proc/self/fd/{directory}/{path.name}", directory


class ControlServer:
    """Answers questions, from now on until the process ends.

    Args:
        path: Where to listen; what a worker before left there is removed.
        inquiries: What is answered, by name.
    """

    def __init__(self, path: Path, inquiries: Mapping[str, ControlHandler]) -> None:
        self._inquiries = {**inquiries, "tasks": self.tasks}
        self._thread = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        name, descriptor = bindable(path)
        try:
            self._listener.bind(name)
        finally:
            if descriptor is not None:
                os.close(descriptor)
        self._listener.listen(_BACKLOG)

    def open(self) -> None:
        """Begin to answer; who asked before waits."""
        Thread(target=self._run, name="desk", daemon=True).start()

    def attend(self) -> None:
        """Have what needs an event loop answered in the one that runs here."""
        self._loop, self._thread = asyncio.get_running_loop(), get_ident()

    def tasks(self, _given: Mapping[str, str]) -> dict[str, Any]:
        """What runs in the loop: an inquiry."""
        return {} if self._loop is None else tasks_of(self._loop, self._thread)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                # One for each: one that waits for the loop must not keep the others.
                Thread(target=self._serve, args=(connection,), name="desk-answer", daemon=True).start()
            except (OSError, RuntimeError):
                # No descriptor or no thread is to be had just now, which main is told by silence.
                time.sleep(_PAUSE_S)

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(ANSWER_S)
            asked = connection.makefile("rb").readline(_MOST_BYTES)
            try:
                answer = self._answer(msgspec.json.decode(asked, type=ControlRequest))
                told = msgspec.json.encode(answer, enc_hook=str)
            except Exception as error:
                # What it was may tell more than an operator's page should: it stands in the log, redacted.
                log.exception("inquiry failed")
                told = msgspec.json.encode(ControlResponse(error=type(error).__name__))
            connection.sendall(told)

    def _answer(self, question: ControlRequest) -> ControlResponse:
        inquiry = self._inquiries.get(question.name)
        if inquiry is None:
            return ControlResponse(is_unknown=True)
        if not inspect.iscoroutinefunction(inquiry):
            return ControlResponse(inquiry(question.given))
        if self._loop is None:
            return ControlResponse(error="starting")
        future: Future[Any] = asyncio.run_coroutine_threadsafe(inquiry(question.given), self._loop)
        try:
            return ControlResponse(future.result(ANSWER_S))
        except TimeoutError:
            future.cancel()
            return ControlResponse(error=f"took longer than {ANSWER_S:g} s")

"""A worker's control server: answers requests of the main process on behalf of an operator.

It listens on a Unix socket in the runtime directory and runs in a thread of its own, so that it also answers
while the event loop is blocked.
"""

import asyncio
import inspect
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import Thread, get_ident
from traceback import walk_stack
from types import CodeType, FrameType
from typing import Any, Final

import msgspec
import structlog

log = structlog.get_logger(__name__)

ControlHandler = Callable[[Mapping[str, str]], Any]
"""Answers a control request, given its parameters; a coroutine function runs in the event loop."""

HANDLER_TIMEOUT_S: Final = 1.5
"""Seconds a handler that runs in the event loop may take; the main process waits a little longer."""
_MAX_REQUEST_BYTES: Final = 65_536
_BACKLOG: Final = 16
_RETRY_PAUSE_S: Final = 0.5
_MAX_TASKS: Final = 200
_MAX_FRAMES: Final = 12


class ControlRequest(msgspec.Struct, frozen=True):
    name: str
    params: dict[str, str] = {}


class ControlResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Response of a worker.

    Args:
        error: Why there is no content.
        is_unknown: Whether the service has no handler of that name.
    """

    content: Any = None
    error: str | None = None
    is_unknown: bool = False


@contextmanager
def control_socket(directory: Path, slot: int) -> Iterator[tuple[Path, str]]:
    """Yield the path of the control socket of the worker in a slot, and a form that fits into an address.

    An address holds at most 107 bytes, 103 on macOS.
    """
    path = directory / f"control-{slot}"
    if len(os.fsencode(path)) <= 100 or not Path("/proc/self/fd").is_dir():
        yield path, str(path)
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield path, f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


class ControlServer:
    """Answers control requests until the process ends.

    Args:
        slot: Number of the worker's slot; the socket of a previous worker in it is removed.
        handlers: Handlers by request name.
    """

    def __init__(self, directory: Path, slot: int, handlers: Mapping[str, ControlHandler]) -> None:
        self._handlers = {**handlers, "tasks": self.tasks}
        self._thread = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        with control_socket(directory, slot) as (path, address):
            path.unlink(missing_ok=True)
            self._listener.bind(address)
        self._listener.listen(_BACKLOG)

    def start(self) -> None:
        """Start to answer; earlier requests are waiting in the backlog."""
        Thread(target=self._run, name="control", daemon=True).start()

    def use_running_loop(self) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), get_ident()

    def tasks(self, _params: Mapping[str, str]) -> dict[str, Any]:
        """Return the number of tasks, the first 200 by name, and the current stack of the loop's thread.

        Called in another thread.
        """
        if self._loop is None:
            return {}
        tasks = sorted(
            asyncio.all_tasks(self._loop), key=lambda task: (len(task.get_name()), task.get_name())
        )
        running = sys._current_frames().get(self._thread)  # noqa: SLF001 - documented by CPython
        return {
            "count": len(tasks),
            "loop_stands_at": _stack(running),
            "tasks": [_describe(task) for task in tasks[:_MAX_TASKS]],
        }

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                # One thread per request: one that waits for the event loop must not block the others.
                Thread(target=self._serve, args=(connection,), name="control-request", daemon=True).start()
            except (OSError, RuntimeError):
                # Out of descriptors or threads; the main process reports a timeout.
                time.sleep(_RETRY_PAUSE_S)

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(HANDLER_TIMEOUT_S)
            line = connection.makefile("rb").readline(_MAX_REQUEST_BYTES)
            try:
                response = self._respond(msgspec.json.decode(line, type=ControlRequest))
                encoded = msgspec.json.encode(response, enc_hook=str)
            except Exception as error:
                # Only the type: the message may contain secrets, which the log redacts.
                log.exception("control request failed")
                encoded = msgspec.json.encode(ControlResponse(error=type(error).__name__))
            connection.sendall(encoded)

    def _respond(self, request: ControlRequest) -> ControlResponse:
        handler = self._handlers.get(request.name)
        if handler is None:
            return ControlResponse(is_unknown=True)
        if not inspect.iscoroutinefunction(handler):
            return ControlResponse(handler(request.params))
        if self._loop is None:
            return ControlResponse(error="starting")
        future = asyncio.run_coroutine_threadsafe(handler(request.params), self._loop)
        try:
            return ControlResponse(future.result(HANDLER_TIMEOUT_S))
        except TimeoutError:
            future.cancel()
            return ControlResponse(error=f"took longer than {HANDLER_TIMEOUT_S:g} s")


def _describe(task: "asyncio.Task[Any]") -> dict[str, Any]:
    """Return a task and the lines it waits at, without any values."""
    coroutine = task.get_coro()
    return {
        "name": task.get_name(),
        "coroutine": getattr(coroutine, "__qualname__", type(coroutine).__name__),
        "stands_at": list(_awaited(coroutine))[:_MAX_FRAMES],
    }


def _awaited(coroutine: Any) -> Iterator[str]:
    """Yield the current line of a coroutine and of each coroutine it awaits, innermost last."""
    while prefix := next((p for p in ("cr", "gi", "ag") if hasattr(coroutine, f"{p}_frame")), None):
        frame: FrameType | None = getattr(coroutine, f"{prefix}_frame")
        if frame is not None:
            yield _location(frame.f_code, frame.f_lineno)
        coroutine = getattr(coroutine, "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await")


def _stack(frame: FrameType | None) -> list[str]:
    """Return the innermost lines of a stack, innermost last."""
    callers = () if frame is None else islice(walk_stack(frame), _MAX_FRAMES)
    return [_location(caller.f_code, line) for caller, line in callers][::-1]


def _location(code: CodeType, line: int) -> str:
    return f"{'/'.join(code.co_filename.split('/')[-2:])}:{line} {code.co_name}"

"""Worker processes as main sees them."""

import os
import signal
import subprocess
import sys

import msgspec

from ._board import Seat, State
from ._service import Service
from ._signals import STOPS


class Orders(msgspec.Struct, frozen=True):
    """What a worker is told when it starts, as its one argument.

    Args:
        service: What to serve.
        board: Path of the board.
        index: Number of the worker, from 0.
        workers: How many there are.
        listener: File descriptor of the listening socket.
        lifeline: File descriptor that is at its end when main is gone.
        path: Where main finds modules.
    """

    service: Service
    board: str
    index: int
    workers: int
    listener: int
    lifeline: int
    path: list[str]


class Lifeline:
    """A pipe by which workers notice that main is gone, even when it was killed."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()


class Worker:
    """One worker process.

    Args:
        orders: What it is told.
        seat: Its part of the board.
    """

    def __init__(self, orders: Orders, seat: Seat) -> None:
        self.index = orders.index
        self.seat = seat
        seat.reset()
        self._process = _spawned(orders)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """What it ended with, negative for a signal; none while it runs."""
        return self._process.poll()

    @property
    def is_up(self) -> bool:
        """Whether it serves."""
        return self._process.returncode is None and self.seat.state is State.UP

    def kill(self) -> None:
        """End it without asking."""
        self._process.kill()


def _spawned(orders: Orders) -> "subprocess.Popen[bytes]":
    # A fresh interpreter, never a fork: main has threads, and a fork would copy their locks.
    command = [
        sys.executable,
        *_interpreter_options(),
        "-m",
        "starkeel_server._work",
        msgspec.json.encode(orders).decode(),
    ]
    # Until the worker has its own handlers, a signal to the process group must not end it. Blocked signals
    # are inherited, so they are blocked before it exists.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        return subprocess.Popen(  # noqa: S603 - this interpreter and our own program
            command, stdin=subprocess.DEVNULL, pass_fds=(orders.listener, orders.lifeline)
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interpreter_options() -> list[str]:
    """Options that main's own interpreter was given, `-X` and `-W` for two."""
    given = sys.orig_argv[1:]
    return given[: given.index("-m")] if "-m" in given else []

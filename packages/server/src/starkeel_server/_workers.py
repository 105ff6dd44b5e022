"""Worker processes as main sees them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable

import msgspec

from ._board import Seat, State
from ._service import Service
from ._signals import HANDLED

LEAVE_GRACE_S = 60.0
"""Seconds, at least, that requests in flight have in a worker that is replaced: nobody waits for the process
to end, so they get longer than in a shutdown."""


class Orders(msgspec.Struct, frozen=True):
    """What a worker is told when it starts, as its one argument.

    Args:
        service: What to serve.
        board: Path of the board.
        index: Number of the worker, from 0; one that replaces another takes its number over.
        slot: Its place on the board, and the name its metrics are kept under; no other that runs has it.
        workers: How many there are.
        environ: File descriptor of the environment, as main checked it.
        uses_tls: Whether the port speaks TLS.
        listener: File descriptor of the listening socket.
        lifeline: File descriptor that is at its end when main is gone.
        path: Where main finds modules.
    """

    service: Service
    board: str
    index: int
    slot: int
    workers: int
    environ: int
    uses_tls: bool
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
        inherited: Further file descriptors it is to have.
    """

    def __init__(self, orders: Orders, seat: Seat, *, inherited: Iterable[int]) -> None:
        self.index = orders.index
        self.seat = seat
        self.rss_bytes = 0
        seat.reset()
        self._process = _spawned(orders, inherited)

    @property
    def slot(self) -> int:
        """Its place on the board."""
        return self.seat.slot

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


def _spawned(orders: Orders, inherited: Iterable[int]) -> "subprocess.Popen[bytes]":
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
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        return subprocess.Popen(  # noqa: S603 - this interpreter and our own program
            command, stdin=subprocess.DEVNULL, pass_fds=(orders.listener, orders.lifeline, *inherited)
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interpreter_options() -> list[str]:
    """Options that main's own interpreter was given, `-X` and `-W` for two."""
    given = sys.orig_argv[1:]
    return given[: given.index("-m")] if "-m" in given else []

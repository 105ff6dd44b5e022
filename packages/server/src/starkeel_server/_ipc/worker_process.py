"""Worker processes as main sees them."""

import msgspec

from .._config.service import Service
from .scoreboard import WorkerSlot, WorkerState
from .spawn import SpareProcess

LEAVE_GRACE_S = 60.0
"""Seconds, at least, that requests in flight have in a worker that is replaced: nobody waits for the process
to end, so they get longer than in a shutdown."""


class WorkerSpec(msgspec.Struct, frozen=True):
    """What a worker is told.

    Args:
        service: What to serve.
        scoreboard: Path of the board.
        index: Number of the worker, from 0; one that replaces another takes its number over.
        slot: Its place on the board, and the name its metrics are kept under; no other that runs has it.
        workers: How many there are.
        metrics: Path of the directory for metrics.
        descriptors: Numbers, in main, of the descriptors that come with the orders.
        environ: File descriptor, in main, of the environment, as main checked it.
        uses_tls: Whether the port speaks TLS.
        listener: File descriptor, in main, of the socket to accept from.
        path: Where main finds modules.
        preparation: File descriptor, in main, of the pipe by which this worker tells how it prepares the
            start; none for those that do not.
    """

    service: Service
    scoreboard: str
    metrics: str
    descriptors: list[int]
    index: int
    slot: int
    workers: int
    environ: int
    uses_tls: bool
    listener: int
    path: list[str]
    preparation: int | None


class WorkerProcess:
    """One worker process.

    Args:
        spare: The interpreter that becomes it.
        spec: What it is told.
        slot: Its part of the board.
    """

    def __init__(self, spare: SpareProcess, spec: WorkerSpec, slot: WorkerSlot) -> None:
        self.index = spec.index
        self.was_terminated = False
        """Whether main ended it."""
        self.slot = slot
        self.rss_bytes = 0
        slot.reset()
        self._spare = spare
        self._process = spare.process
        spare.order(msgspec.json.encode(spec), spec.descriptors)

    @property
    def slot_number(self) -> int:
        """Its place on the board."""
        return self.slot.number

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
        return self._process.returncode is None and self.slot.state is WorkerState.UP

    @property
    def is_preparing(self) -> bool:
        """Whether it prepares the start, and runs."""
        return self.slot.state is WorkerState.PREPARING and self.returncode is None

    def kill(self) -> None:
        """End it without asking."""
        self.was_terminated = True
        self._process.kill()

    def wait(self) -> None:
        """Wait for its end."""
        self._process.wait()

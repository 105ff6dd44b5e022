"""Worker processes as handles of the main process, and the start message they receive."""

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from .._config.service import Service
from .scoreboard import Phase, WorkerSlot, WorkerState
from .spawn import SpareProcess

REPLACED_GRACE_S = 60.0
"""Minimum seconds for requests in flight in a worker that is being replaced: nothing waits for that process
to end, so it gets more time than in a shutdown."""


class WorkerSpec(msgspec.Struct, frozen=True):
    """Start message of a worker. Descriptors have the numbers of the main process.

    Args:
        descriptors: Descriptors sent along.
        index: Worker index, from 0; a replacement has the index of the worker it replaces.
        slot: Number of its scoreboard slot, which also names its metrics files; unique among running workers.
        environ: Descriptor of the checked environment.
        listener: Descriptor of the listening socket; None if the worker serves no requests.
        path: `sys.path` of the main process.
        startup: Descriptor of the startup pipe; None unless this worker prepares the startup.
    """

    service: Service
    scoreboard: str
    metrics: str
    descriptors: list[int]
    index: int
    slot: int
    workers: int
    environ: int
    listener: int | None
    path: list[str]
    startup: int | None


class WorkerProcess:
    """Handle of a worker process; creating it sends the spec to the spare process."""

    def __init__(self, spare: SpareProcess, spec: WorkerSpec, slot: WorkerSlot) -> None:
        self.index = spec.index
        self.slot = slot
        self.channel = spare
        """Connection to the worker, which stops when it ends."""
        self.pid = spare.process.pid
        self.rss_bytes = 0
        """Resident memory when it was last measured."""
        self.was_up_when_measured = False
        self.is_over_limit = False
        """Whether it was once found above `WORKER_MAX_RSS_BYTES`, which is handled once."""
        self.was_killed = False
        """Whether this process was killed by the main process."""
        slot.reset()
        spare.send_command(msgspec.json.encode(spec), spec.descriptors)

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while the process runs."""
        return self.channel.process.poll()

    @property
    def is_up(self) -> bool:
        return self.channel.process.returncode is None and self.slot.state is WorkerState.UP

    @property
    def is_preparing(self) -> bool:
        return self.slot.state is WorkerState.PREPARING and self.returncode is None

    def set_phase(self, phase: Phase) -> None:
        """Set the phase of this worker alone, which is being replaced."""
        self.slot.set_phase(phase)
        self.channel.notify()

    def measure(self) -> None:
        """Update `rss_bytes`, unless the process has ended or there is no `/proc`."""
        with suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            self.rss_bytes = pages * os.sysconf("SC_PAGE_SIZE") or self.rss_bytes

    def kill(self) -> None:
        self.was_killed = True
        self.channel.process.kill()

    def wait(self) -> None:
        self.channel.process.wait()

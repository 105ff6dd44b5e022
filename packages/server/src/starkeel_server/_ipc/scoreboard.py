"""Shared-memory scoreboard between the main process and its workers.

One byte is read on every response, so reading must be cheap, and it must work while an event loop is blocked,
which rules out any request to the other process.
"""

import mmap
import struct
import time
from enum import IntEnum
from pathlib import Path

_HEADER_BYTES = 64
_SLOT_BYTES = 64
_SECONDS = struct.Struct("=d")
# Offsets in the header.
_PHASE, _DEADLINE = 0, 8
# Offsets in a slot.
_STATE, _READY, _SLOT_PHASE, _HEARTBEAT, _UP_AT = 0, 1, 2, 8, 16


class Phase(IntEnum):
    """Phase of the service, or of one worker that is being replaced; only increases."""

    PREPARING = 0
    """The first worker connects and migrates; the port is closed."""
    STARTING = 1
    """The port is open; not every worker has been up."""
    RUNNING = 2
    DRAINING = 3
    """Serve, but close connections after each response."""
    STOPPING = 4
    """Accept nothing, finish requests in flight."""
    KILLED = 5
    """After a second stop signal."""


class WorkerState(IntEnum):
    """State of a worker; written by the worker, reset by the main process."""

    STARTING = 0
    PREPARING = 1
    """Connects to the database and migrates; needs time to roll back when it is stopped."""
    OPENING = 2
    """May hold connections from now on."""
    UP = 3
    CLOSING = 4


class Scoreboard:
    """The shared memory: a header written by the main process, and one slot for each worker.

    Times are `time.monotonic()`, which all processes of a machine share.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.slots = (len(self._map) - _HEADER_BYTES) // _SLOT_BYTES

    @classmethod
    def create(cls, path: Path, *, slots: int) -> "Scoreboard":
        path.write_bytes(bytes(_HEADER_BYTES + slots * _SLOT_BYTES))
        return cls(path)

    @property
    def phase(self) -> Phase:
        return Phase(self._map[_PHASE])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._map[_PHASE] = phase

    @property
    def deadline(self) -> float:
        """When requests in flight are cancelled, in `time.monotonic()` seconds; 0 before STOPPING."""
        at: float = _SECONDS.unpack_from(self._map, _DEADLINE)[0]
        return at

    @deadline.setter
    def deadline(self, at: float) -> None:
        _SECONDS.pack_into(self._map, _DEADLINE, at)

    def slot(self, number: int) -> "WorkerSlot":
        return WorkerSlot(self, self._map, number)


class WorkerSlot:
    """One worker's slot, used by that worker and by the main process."""

    __slots__ = ("_at", "_map", "number", "scoreboard")

    def __init__(self, scoreboard: Scoreboard, memory: mmap.mmap, number: int) -> None:
        self.scoreboard = scoreboard
        self.number = number
        self._map = memory
        self._at = _HEADER_BYTES + number * _SLOT_BYTES

    @property
    def is_draining(self) -> bool:
        """Whether responses close their connection; read on every response."""
        return self._map[_PHASE] >= Phase.DRAINING or self._map[self._at + _SLOT_PHASE] != 0

    @property
    def is_replaced(self) -> bool:
        """Whether another worker has replaced this one."""
        return self._map[self._at + _SLOT_PHASE] != 0

    @property
    def phase(self) -> Phase:
        """Phase of this worker: that of the service, or a later one while this worker is being replaced."""
        return Phase(max(self._map[_PHASE], self._map[self._at + _SLOT_PHASE]))

    def set_phase(self, phase: Phase) -> None:
        self._map[self._at + _SLOT_PHASE] = phase

    @property
    def state(self) -> WorkerState:
        return WorkerState(self._map[self._at + _STATE])

    @state.setter
    def state(self, state: WorkerState) -> None:
        if state is WorkerState.UP:
            _SECONDS.pack_into(self._map, self._at + _UP_AT, time.monotonic())
        self._map[self._at + _STATE] = state

    @property
    def up_s(self) -> float | None:
        """Seconds since the worker was up for the first time; None if it never was."""
        up_at: float = _SECONDS.unpack_from(self._map, self._at + _UP_AT)[0]
        return time.monotonic() - up_at if self.has_been_up else None

    @property
    def has_been_up(self) -> bool:
        return self.state in (WorkerState.UP, WorkerState.CLOSING)

    @property
    def is_ready(self) -> bool:
        """Whether the worker's latest readiness checks passed."""
        return self._map[self._at + _READY] == 1

    @is_ready.setter
    def is_ready(self, ready: bool) -> None:
        self._map[self._at + _READY] = ready

    def record_heartbeat(self) -> None:
        _SECONDS.pack_into(self._map, self._at + _HEARTBEAT, time.monotonic())

    @property
    def heartbeat_age_s(self) -> float:
        """Seconds since the last heartbeat of the worker's event loop."""
        recorded: float = _SECONDS.unpack_from(self._map, self._at + _HEARTBEAT)[0]
        return time.monotonic() - recorded

    def reset(self) -> None:
        self._map[self._at : self._at + _SLOT_BYTES] = bytes(_SLOT_BYTES)

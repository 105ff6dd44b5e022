"""What main and its workers tell each other: a few bytes of shared memory.

A byte is read on every request, so it must cost nothing; and it must work when an event loop is stuck, which
rules out anything that needs the other side to answer.
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
_PHASE, _BOOTED, _OPEN, _DEADLINE = 0, 1, 2, 8
# Offsets in a slot.
_STATE, _READY, _SLOT_PHASE, _HEARTBEAT = 0, 1, 2, 8


class Phase(IntEnum):
    """What a worker is to do; written by main."""

    SERVING = 0
    DRAINING = 1
    """Serve, but ask clients to go elsewhere."""
    STOPPING = 2
    """Accept nothing more, finish what is in flight."""


class WorkerState(IntEnum):
    """How far a worker is; written by the worker, reset by main."""

    BOOTING = 0
    UP = 1
    CLOSING = 2
    PREPARING = 3
    """It migrates, before any worker is up; it must be given the time to roll back."""
    OPENING = 4
    """From here on it may hold connections."""


class Scoreboard:
    """The shared memory: one header, written by main, and one slot for each worker.

    Times in it are `time.monotonic()`, one clock for all processes of a machine.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.path = path
        self.slots = (len(self._map) - _HEADER_BYTES) // _SLOT_BYTES

    @classmethod
    def create(cls, path: Path, *, slots: int) -> "Scoreboard":
        """Make a board in a new file."""
        path.write_bytes(bytes(_HEADER_BYTES + slots * _SLOT_BYTES))
        return cls(path)

    @property
    def phase(self) -> Phase:
        """What all workers are to do."""
        return Phase(self._map[_PHASE])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._map[_PHASE] = phase

    @property
    def booted(self) -> bool:
        """Whether every worker has been up once."""
        return self._map[_BOOTED] == 1

    def note_booted(self) -> None:
        """Tell everyone that every worker has been up."""
        self._map[_BOOTED] = 1

    @property
    def is_open(self) -> bool:
        """Whether the start is prepared and the port is listened on."""
        return self._map[_OPEN] == 1

    def open(self) -> None:
        """Tell everyone that workers may serve."""
        self._map[_OPEN] = 1

    @property
    def deadline(self) -> float:
        """When requests still in flight are cancelled, `time.monotonic()` seconds; 0 while nothing stops."""
        return self._seconds(_DEADLINE)

    @deadline.setter
    def deadline(self, at: float) -> None:
        _SECONDS.pack_into(self._map, _DEADLINE, at)

    def slot(self, number: int) -> "WorkerSlot":
        """One worker's part of the board."""
        return WorkerSlot(self, self._map, number)

    def _seconds(self, offset: int) -> float:
        value: float = _SECONDS.unpack_from(self._map, offset)[0]
        return value


class WorkerSlot:
    """One worker's slot, seen by that worker or by main."""

    __slots__ = ("_at", "_map", "number", "scoreboard")

    def __init__(self, scoreboard: Scoreboard, memory: mmap.mmap, number: int) -> None:
        self.scoreboard = scoreboard
        self.number = number
        self._map = memory
        self._at = _HEADER_BYTES + number * _SLOT_BYTES

    @property
    def is_draining(self) -> bool:
        """Whether clients are to be sent elsewhere; asked on every response."""
        return self._map[_PHASE] != 0 or self._map[self._at + _SLOT_PHASE] != 0

    @property
    def phase(self) -> Phase:
        """What this worker is to do: as all, or further when it alone is being replaced."""
        return Phase(max(self._map[_PHASE], self._map[self._at + _SLOT_PHASE]))

    @property
    def is_replaced(self) -> bool:
        """Whether another worker has taken this one's place."""
        return self._map[self._at + _SLOT_PHASE] != 0

    def lead(self, phase: Phase) -> None:
        """Tell this worker alone what to do."""
        self._map[self._at + _SLOT_PHASE] = phase

    @property
    def state(self) -> WorkerState:
        """How far the worker is."""
        return WorkerState(self._map[self._at + _STATE])

    @state.setter
    def state(self, state: WorkerState) -> None:
        self._map[self._at + _STATE] = state

    @property
    def has_been_up(self) -> bool:
        """Whether the worker serves or has served."""
        return self.state in (WorkerState.UP, WorkerState.CLOSING)

    @property
    def is_ready(self) -> bool:
        """Whether the worker's last readiness checks passed."""
        return self._map[self._at + _READY] == 1

    @is_ready.setter
    def is_ready(self, ready: bool) -> None:
        self._map[self._at + _READY] = int(ready)

    def beat(self) -> None:
        """Note that the worker's event loop runs."""
        _SECONDS.pack_into(self._map, self._at + _HEARTBEAT, time.monotonic())

    @property
    def silence_s(self) -> float:
        """Seconds since the worker's event loop last ran."""
        beaten: float = _SECONDS.unpack_from(self._map, self._at + _HEARTBEAT)[0]
        return time.monotonic() - beaten

    def reset(self) -> None:
        """Make room for a new worker."""
        self._map[self._at : self._at + _SLOT_BYTES] = bytes(_SLOT_BYTES)

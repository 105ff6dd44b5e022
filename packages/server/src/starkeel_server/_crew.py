"""The workers that there are: who serves, who is to take over, who leaves."""

import time
from collections.abc import Callable
from threading import Lock

from ._board import Board, Phase, Seat
from ._workers import Worker

Spawn = Callable[[int, Seat, bool], Worker]
"""Starts a worker, given its number, its seat, and whether it is to try what was read last."""
_LOOK_S = 0.01


class Crew:
    """As many workers as are wanted, and for a while one more while one is replaced.

    Args:
        board: The memory shared with them, with one seat more than there are workers.
        spawn: Starts a worker.
    """

    def __init__(self, board: Board, *, spawn: Spawn) -> None:
        self._board = board
        self._spawn = spawn
        self._lock = Lock()
        self._is_closed = False
        self._size = board.slots - 1
        self._seats = {index: board.seat(index) for index in range(self._size)}
        self.serving: dict[int, Worker] = {}
        self.arriving: Worker | None = None
        self.leaving: Worker | None = None

    @property
    def indexes(self) -> range:
        """The numbers of the workers."""
        return range(self._size)

    @property
    def is_up(self) -> bool:
        """Whether every worker serves."""
        return len(self.serving) == self._size and all(worker.is_up for worker in self.serving.values())

    def seats(self) -> list[Seat]:
        """The seat of each worker by its number, of the one before while it is replaced after a crash."""
        return list(self._seats.values())

    def all(self) -> list[Worker]:
        """Every worker that was started and not struck off."""
        return [
            *self.serving.values(),
            *(worker for worker in (self.arriving, self.leaving) if worker is not None),
        ]

    def start(self, index: int) -> None:
        """Start a worker that serves as soon as it can."""
        with self._lock:
            if not self._is_closed:
                self.serving[index] = self._spawn(index, self._seats[index], False)

    def invite(self, index: int) -> Worker | None:
        """Start a worker that is to take another's place; none once all is over."""
        with self._lock:
            if not self._is_closed:
                self.arriving = self._spawn(index, self._free_seat(), True)
        return self.arriving

    def promote(self) -> Worker | None:
        """Have the arriving worker take its place; the one that is to leave for it, if it still runs."""
        assert self.arriving is not None
        index = self.arriving.index
        self.leaving = self.serving.pop(index, None)
        self._seats[index] = self.arriving.seat
        self.serving[index], self.arriving = self.arriving, None
        return self.leaving

    def strike_off(self, worker: Worker) -> None:
        """Forget a worker that has ended."""
        if self.arriving is worker:
            self.arriving = None
        elif self.leaving is worker:
            self.leaving = None
        else:
            del self.serving[worker.index]

    def kill(self) -> None:
        """End every worker at once, and start none any more; may be called from other threads."""
        with self._lock:
            self._is_closed = True
            for worker in self.all():
                worker.kill()

    def dismiss(self, *, timeout_s: float) -> None:
        """End every worker before any has served; may be called from other threads.

        Args:
            timeout_s: Seconds for the one that prepares the start to roll back.
        """
        with self._lock:
            self._is_closed = True
        self._board.phase = Phase.STOPPING
        until = time.monotonic() + timeout_s
        while any(worker.is_preparing for worker in self.all()) and time.monotonic() < until:
            time.sleep(_LOOK_S)
        self.kill()
        for worker in self.all():
            worker.wait()

    def _free_seat(self) -> Seat:
        taken = {seat.slot for seat in self._seats.values()}
        taken |= {worker.slot for worker in self.all()}
        return self._board.seat(next(slot for slot in range(self._board.slots) if slot not in taken))

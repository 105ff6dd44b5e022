"""Main's care for its workers: start, replace, drain, end."""

import select
import socket
import time
from collections.abc import Callable
from threading import Lock

import structlog

from ._board import Board, Phase, State
from ._exits import CRASH_LOOP, STOPPED, WORKER_KILLED
from ._settings import ServerSettings
from ._workers import Worker

log = structlog.get_logger(__name__)

MOST_DEATHS = 5
"""Workers that may die one after the other before any is up; then something is wrong that a restart cannot
mend."""
BACKOFF_S = 0.1
"""Seconds before a worker that never was up is replaced; doubled each time."""
_TICK_S = 0.1
_MARGIN_S = 1.0
"""Seconds a worker gets beyond its grace and flush before it is killed."""


class Supervisor:
    """Keeps as many workers as are wanted, until it is told to stop.

    Args:
        settings: How many, and how they stop.
        board: The memory shared with them.
        listener: The socket they accept from.
        spawn: Starts the worker of a number.
        on_death: Called with a worker that ended without being asked to.
    """

    def __init__(
        self,
        settings: ServerSettings,
        board: Board,
        listener: socket.socket,
        *,
        spawn: Callable[[int], Worker],
        on_death: Callable[[Worker], None],
    ) -> None:
        self._settings = settings
        self._board = board
        self._listener = listener
        self._spawn = spawn
        self._on_death = on_death
        self._workers: dict[int, Worker] = {}
        self._waker, self._wakes = socket.socketpair()
        self._waker.setblocking(False)
        self._lock = Lock()
        self._must_stop = False
        self._deaths = 0
        self._code = STOPPED
        self._over_at = 0.0

    @property
    def flush_s(self) -> float:
        """Seconds that are left for main's own flushing, once `run` is over."""
        return min(self._settings.shutdown_flush_s, self._over_at - time.monotonic())

    def wake(self) -> None:
        """Have a look at once; called from other threads."""
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            return

    def stop(self) -> None:
        """Begin to stop; called from other threads."""
        # At once, whatever the main thread is about.
        if self._board.booted:
            self._board.phase = Phase.DRAINING
        self._must_stop = True
        self.wake()

    def kill(self) -> None:
        """End every worker at once; called from other threads. None is started any more."""
        with self._lock:
            self._must_stop = True
            for worker in self._workers.values():
                worker.kill()

    def run(self) -> int:
        """Serve until told to stop, then drain; the exit code."""
        for index in range(self._settings.workers):
            self._start(index)
        while not self._must_stop:
            self._wait(_TICK_S)
            self._replace_the_dead()
            self._note_boot()
        self._drain()
        return self._code

    def _start(self, index: int) -> None:
        with self._lock:
            if not self._must_stop:
                self._workers[index] = self._spawn(index)

    def _wait(self, timeout_s: float) -> None:
        readable, _, _ = select.select([self._wakes], [], [], max(0.0, timeout_s))
        if readable:
            self._wakes.recv(4096)

    def _replace_the_dead(self) -> None:
        for worker in self._bury_the_dead():
            if self._must_stop:
                return
            if self._deaths >= MOST_DEATHS:
                log.error("gave up: workers die before they are up", deaths=self._deaths)
                self._code = CRASH_LOOP
                self.stop()
                return
            if self._deaths:
                self._back_off(BACKOFF_S * 2 ** (self._deaths - 1))
            self._start(worker.index)

    def _back_off(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._must_stop and time.monotonic() < until:
            self._wait(until - time.monotonic())

    def _bury_the_dead(self) -> list[Worker]:
        dead = [worker for worker in self._workers.values() if worker.returncode is not None]
        for worker in dead:
            del self._workers[worker.index]
            was_up = worker.seat.state is not State.BOOTING
            self._deaths = 0 if was_up else self._deaths + 1
            log.error("worker died", index=worker.index, worker_pid=worker.pid, exit_code=worker.returncode)
            worker.seat.reset()
            self._on_death(worker)
        return dead

    def _note_boot(self) -> None:
        if self._board.booted or len(self._workers) < self._settings.workers:
            return
        if all(worker.is_up for worker in self._workers.values()):
            self._board.note_booted()
            log.info("workers started", workers=self._settings.workers)

    def _drain(self) -> None:
        if self._board.booted:
            self._board.phase = Phase.DRAINING
            self._until_ended(time.monotonic() + self._settings.drain_delay_s)
        now = time.monotonic()
        self._over_at = now + self._settings.shutdown_grace_s + self._settings.shutdown_flush_s + _MARGIN_S
        self._board.deadline = now + self._settings.shutdown_grace_s
        self._board.phase = Phase.STOPPING
        # Main's own copy; with the workers' gone as well, connections are refused rather than left to wait.
        self._listener.close()
        for worker in self._workers.values():
            if worker.seat.state is State.BOOTING:
                # It holds nothing yet, and may take long to notice.
                worker.kill()
        if not self._until_ended(self._over_at):
            self._kill_the_stuck()

    def _until_ended(self, deadline: float) -> bool:
        """Wait until no worker runs; whether that came in time."""
        while self._workers:
            self._note_ends()
            left = deadline - time.monotonic()
            if not self._workers or left <= 0:
                break
            self._wait(min(left, _TICK_S))
        return not self._workers

    def _note_ends(self) -> None:
        for worker in [worker for worker in self._workers.values() if worker.returncode is not None]:
            del self._workers[worker.index]
            if worker.returncode == 0 or worker.seat.state is State.BOOTING:
                continue
            log.error("worker died", index=worker.index, worker_pid=worker.pid, exit_code=worker.returncode)
            self._code = self._code or WORKER_KILLED

    def _kill_the_stuck(self) -> None:
        for worker in self._workers.values():
            log.error("worker killed: it did not stop in time", index=worker.index, worker_pid=worker.pid)
            worker.seat.state = State.BOOTING  # its end is no further news
        self.kill()
        self._code = self._code or WORKER_KILLED
        self._until_ended(time.monotonic() + _MARGIN_S)

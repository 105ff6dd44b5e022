"""Main's care for its workers: start, replace, drain, end."""

import select
import socket
import time
from collections.abc import Callable

import structlog

from ._board import Board, Phase, State
from ._configuration import Configuration
from ._crew import Crew
from ._exits import CRASH_LOOP, STOPPED, WORKER_KILLED
from ._memory import MemoryWatch
from ._settings import ServerSettings
from ._turnover import MARGIN_S, RELOAD, Turnover
from ._workers import Worker

log = structlog.get_logger(__name__)

MOST_DEATHS = 5
"""Workers that may die one after the other before any is up; then something is wrong that a restart cannot
mend."""
BACKOFF_S = 0.1
"""Seconds before a worker that never was up is replaced; doubled each time."""
_TICK_S = 0.1


class Supervisor:
    """Keeps as many workers as are wanted, until it is told to stop.

    Args:
        configuration: What workers are started with, and how they stop.
        board: The memory shared with them.
        listener: The socket they accept from.
        crew: The workers.
        turnover: What replaces them while they serve.
        on_end: Called with each worker that has ended, and whether it was not asked to.
    """

    def __init__(
        self,
        configuration: Configuration,
        board: Board,
        listener: socket.socket,
        *,
        crew: Crew,
        turnover: Turnover,
        on_end: Callable[[Worker, bool], None],
    ) -> None:
        self._configuration = configuration
        self._board = board
        self._listener = listener
        self._crew = crew
        self._turnover = turnover
        self._memory = MemoryWatch(crew, turnover)
        self._on_end = on_end
        self._waker, self._wakes = socket.socketpair()
        self._waker.setblocking(False)
        self._must_stop = False
        self._must_reload = False
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

    def reload(self) -> None:
        """Read the configuration anew and replace every worker; called from other threads."""
        self._must_reload = True
        self.wake()

    def kill(self) -> None:
        """End every worker at once; called from other threads. None is started any more."""
        self._must_stop = True
        self._crew.kill()

    def run(self) -> int:
        """Serve until told to stop, then drain; the exit code. Workers have been started."""
        while not self._must_stop:
            self._wait(_TICK_S)
            self._replace_the_dead()
            self._note_boot()
            if self._board.booted:
                self._renew()
        self._drain()
        return self._code

    @property
    def _settings(self) -> ServerSettings:
        return self._configuration.proven.server

    def _wait(self, timeout_s: float) -> None:
        readable, _, _ = select.select([self._wakes], [], [], max(0.0, timeout_s))
        if readable:
            self._wakes.recv(4096)

    def _renew(self) -> None:
        if self._must_reload:
            self._must_reload = False
            if self._configuration.read_anew():
                self._turnover.want(self._crew.indexes, RELOAD)
        self._memory.look(self._settings.worker_max_rss_bytes)
        self._turnover.step()

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
            if self._crew.arriving is None or self._crew.arriving.index != worker.index:
                self._crew.start(worker.index)

    def _back_off(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._must_stop and time.monotonic() < until:
            self._wait(until - time.monotonic())

    def _bury_the_dead(self) -> list[Worker]:
        """Those that have ended and leave a gap."""
        missing = []
        for worker in [worker for worker in self._crew.all() if worker.returncode is not None]:
            if self._crew.serving.get(worker.index) is worker:
                missing.append(worker)
                self._deaths = 0 if worker.seat.has_been_up else self._deaths + 1
            is_asked = worker is self._crew.leaving and worker.returncode == 0
            self._bury(worker, died=not is_asked)
        return missing

    def _bury(self, worker: Worker, *, died: bool) -> None:
        self._crew.strike_off(worker)
        self._on_end(worker, died)
        worker.seat.reset()

    def _note_boot(self) -> None:
        if not self._board.booted and self._crew.is_up:
            self._board.note_booted()
            log.info("workers started", workers=len(self._crew.indexes))

    def _drain(self) -> None:
        if self._board.booted:
            self._board.phase = Phase.DRAINING
            self._until_ended(time.monotonic() + self._settings.drain_delay_s)
        now = time.monotonic()
        self._over_at = now + self._settings.shutdown_grace_s + self._settings.shutdown_flush_s + MARGIN_S
        self._board.deadline = now + self._settings.shutdown_grace_s
        self._board.phase = Phase.STOPPING
        # Main's own copy; with the workers' gone as well, connections are refused rather than left to wait.
        self._listener.close()
        for worker in self._crew.all():
            if worker.seat.state is State.BOOTING:
                # It holds nothing yet, and may take long to notice.
                worker.kill()
        if not self._until_ended(self._over_at):
            self._kill_the_stuck()

    def _until_ended(self, deadline: float) -> bool:
        """Wait until no worker runs; whether that came in time."""
        while self._crew.all():
            self._note_ends()
            left = deadline - time.monotonic()
            if not self._crew.all() or left <= 0:
                break
            self._wait(min(left, _TICK_S))
        return not self._crew.all()

    def _note_ends(self) -> None:
        for worker in [worker for worker in self._crew.all() if worker.returncode is not None]:
            is_asked = worker.is_dismissed or worker.seat.state is State.BOOTING
            died = worker.returncode != 0 and not is_asked
            if died:
                self._code = self._code or WORKER_KILLED
            self._bury(worker, died=died)

    def _kill_the_stuck(self) -> None:
        for worker in self._crew.all():
            log.error("worker killed: it did not stop in time", index=worker.index, worker_pid=worker.pid)
        self.kill()
        self._code = self._code or WORKER_KILLED
        self._until_ended(time.monotonic() + MARGIN_S)

"""Main's care for its workers: start, replace, drain, end."""

import select
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from .._config.exit_codes import CRASH_LOOP, STOPPED, WORKER_KILLED
from .._config.service import Service
from .._config.settings import ServerSettings
from .._ipc.scoreboard import Phase, Scoreboard, WorkerState
from .._ipc.spawn import SpareProcess
from .._ipc.startup_channel import StartupListener
from .._ipc.worker_process import WorkerProcess
from .._metrics import multiprocess
from .._process.runtime_dir import RuntimeDirectory
from .config_reload import ReloadableConfig
from .memory_limit import MemoryLimit
from .rolling_restart import MARGIN_S, RELOAD, RollingRestart
from .worker_exits import ExitReporter
from .worker_pool import WorkerPool, WorkerSpawner

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
        config: What workers are started with, and how they stop.
        scoreboard: The memory shared with them.
        listener: The socket they accept from.
        pool: The workers.
        rolling_restart: What replaces them while they serve.
        on_end: Called with each worker that has ended, and whether it was not asked to.
    """

    def __init__(
        self,
        config: ReloadableConfig,
        scoreboard: Scoreboard,
        listener: socket.socket,
        *,
        pool: WorkerPool,
        rolling_restart: RollingRestart,
        on_exit: Callable[[WorkerProcess, bool], None],
    ) -> None:
        self._config = config
        self._scoreboard = scoreboard
        self._listener = listener
        self._pool = pool
        self._rolling_restart = rolling_restart
        self._memory = MemoryLimit(pool, rolling_restart)
        self._on_end = on_exit
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
        if self._scoreboard.booted:
            self._scoreboard.phase = Phase.DRAINING
        self._must_stop = True
        self.wake()

    def reload(self) -> None:
        """Read the configuration anew and replace every worker; called from other threads."""
        self._must_reload = True
        self.wake()

    def kill(self) -> None:
        """End every worker at once; called from other threads. None is started any more."""
        self._must_stop = True
        self._pool.kill()

    def run(self) -> int:
        """Serve until told to stop, then drain; the exit code. Workers have been started."""
        while not self._must_stop:
            self._wait(_TICK_S)
            self._restart_exited()
            self._note_boot()
            if self._scoreboard.booted:
                self._renew()
        self._drain()
        return self._code

    @property
    def _settings(self) -> ServerSettings:
        return self._config.active.server

    def _wait(self, timeout_s: float) -> None:
        readable, _, _ = select.select([self._wakes], [], [], max(0.0, timeout_s))
        if readable:
            self._wakes.recv(4096)

    def _renew(self) -> None:
        if self._must_reload:
            self._must_reload = False
            if self._config.reload():
                self._rolling_restart.request(self._pool.indexes, RELOAD)
        self._memory.look(self._settings.worker_max_rss_bytes)
        self._rolling_restart.step()

    def _restart_exited(self) -> None:
        for worker in self._collect_exited():
            if self._must_stop:
                return
            if self._deaths >= MOST_DEATHS:
                log.error("gave up: workers die before they are up", deaths=self._deaths)
                self._code = CRASH_LOOP
                self.stop()
                return
            if self._deaths:
                self._back_off(BACKOFF_S * 2 ** (self._deaths - 1))
            if self._pool.replacement is None or self._pool.replacement.index != worker.index:
                self._pool.start(worker.index)

    def _back_off(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._must_stop and time.monotonic() < until:
            self._wait(until - time.monotonic())

    def _collect_exited(self) -> list[WorkerProcess]:
        """Those that have ended and leave a gap."""
        missing = []
        for worker in [worker for worker in self._pool.all() if worker.returncode is not None]:
            if self._pool.serving.get(worker.index) is worker:
                missing.append(worker)
                self._deaths = 0 if worker.slot.has_been_up else self._deaths + 1
            is_asked = worker is self._pool.retiring and worker.returncode == 0
            self._collect(worker, died=not is_asked)
        return missing

    def _collect(self, worker: WorkerProcess, *, died: bool) -> None:
        self._pool.remove(worker)
        self._on_end(worker, died)
        worker.slot.reset()

    def _note_boot(self) -> None:
        if not self._scoreboard.booted and self._pool.is_up:
            self._scoreboard.note_booted()
            log.info("workers started", workers=len(self._pool.indexes))

    def _drain(self) -> None:
        if self._scoreboard.booted:
            self._scoreboard.phase = Phase.DRAINING
            self._until_ended(time.monotonic() + self._settings.drain_delay_s)
        now = time.monotonic()
        self._over_at = now + self._settings.shutdown_grace_s + self._settings.shutdown_flush_s + MARGIN_S
        self._scoreboard.deadline = now + self._settings.shutdown_grace_s
        self._scoreboard.phase = Phase.STOPPING
        # Main's own copy; with the workers' gone as well, connections are refused rather than left to wait.
        self._listener.close()
        for worker in self._pool.all():
            if worker.slot.state is WorkerState.BOOTING:
                # It holds nothing yet, and may take long to notice.
                worker.kill()
        if not self._until_ended(self._over_at):
            self._kill_the_stuck()

    def _until_ended(self, deadline: float) -> bool:
        """Wait until no worker runs; whether that came in time."""
        while self._pool.all():
            self._collect_all()
            left = deadline - time.monotonic()
            if not self._pool.all() or left <= 0:
                break
            self._wait(min(left, _TICK_S))
        return not self._pool.all()

    def _collect_all(self) -> None:
        for worker in [worker for worker in self._pool.all() if worker.returncode is not None]:
            is_asked = worker.was_terminated or worker.slot.state is WorkerState.BOOTING
            died = worker.returncode != 0 and not is_asked
            if died:
                self._code = self._code or WORKER_KILLED
            self._collect(worker, died=died)

    def _kill_the_stuck(self) -> None:
        for worker in self._pool.all():
            log.error("worker killed: it did not stop in time", index=worker.index, worker_pid=worker.pid)
        self.kill()
        self._code = self._code or WORKER_KILLED
        self._until_ended(time.monotonic() + MARGIN_S)


class Supervision(NamedTuple):
    """The workers and those who see to them."""

    scoreboard: Scoreboard
    pool: WorkerPool
    supervisor: Supervisor
    preparation: StartupListener
    metrics: multiprocess.WorkerMetrics


def build_supervisor(
    service: Service,
    config: ReloadableConfig,
    directory: RuntimeDirectory,
    listener: socket.socket,
    *,
    first: SpareProcess,
) -> Supervision:
    """Make what starts workers and sees to them; nothing is started yet.

    Args:
        service: What they serve.
        config: What they are started with.
        directory: Where shared memory and metrics are kept.
        listener: The socket they will accept from.
        first: Will be the first of them, and prepare the start.
    """
    workers = config.active.server.workers
    scoreboard = Scoreboard.create(directory.scoreboard, slots=workers + 1)
    metrics = multiprocess.WorkerMetrics()
    spawner = WorkerSpawner(service, config, directory, listener, workers, first)
    pool = WorkerPool(scoreboard, spawn=spawner)
    rolling_restart = RollingRestart(pool, config, on_replaced=metrics.count_replacement)
    exits = ExitReporter(directory, metrics)
    supervisor = Supervisor(
        config, scoreboard, listener, pool=pool, rolling_restart=rolling_restart, on_exit=exits.report
    )
    return Supervision(scoreboard, pool, supervisor, spawner.preparation, metrics)

"""Supervisor of the workers: starts, replaces, drains and ends them."""

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

MAX_FAILED_STARTS = 5
"""Workers in a row that may end before one is up; then a restart cannot help."""
BACKOFF_S = 0.1
"""Seconds before a worker that was never up is restarted; doubled each time."""
_TICK_S = 0.1


class Supervisor:
    """Keeps the configured number of workers running until it is stopped.

    Args:
        config: Configuration that workers are started with.
        scoreboard: Memory shared with the workers.
        listener: Socket they accept from.
        pool: The workers.
        rolling_restart: Replaces workers while the service serves.
        on_exit: Called with each worker that has ended, and whether that was unexpected.
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
        self._failed_starts = 0
        self._code = STOPPED
        self._over_at = 0.0

    @property
    def flush_s(self) -> float:
        """Seconds left for flushing in the main process after `run`."""
        return min(self._settings.shutdown_flush_s, self._over_at - time.monotonic())

    def wake(self) -> None:
        """Check the workers immediately; called from other threads."""
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            return

    def stop(self) -> None:
        """Start to stop; called from other threads."""
        # Immediately, in case the main thread is busy.
        if self._scoreboard.booted:
            self._scoreboard.phase = Phase.DRAINING
        self._must_stop = True
        self.wake()

    def reload(self) -> None:
        """Reload the configuration and replace every worker; called from other threads."""
        self._must_reload = True
        self.wake()

    def kill(self) -> None:
        """Kill every worker and start no more; called from other threads."""
        self._must_stop = True
        self._pool.kill_all()

    def run(self) -> int:
        """Supervise the started workers until stopped, then drain; return the exit code."""
        while not self._must_stop:
            self._wait(_TICK_S)
            self._restart_exited()
            self._check_started()
            if self._scoreboard.booted:
                self._step_replacements()
        self._drain()
        return self._code

    @property
    def _settings(self) -> ServerSettings:
        return self._config.active.server

    def _wait(self, timeout_s: float) -> None:
        readable, _, _ = select.select([self._wakes], [], [], max(0.0, timeout_s))
        if readable:
            self._wakes.recv(4096)

    def _step_replacements(self) -> None:
        if self._must_reload:
            self._must_reload = False
            if self._config.reload():
                self._rolling_restart.request(self._pool.indexes, RELOAD)
        self._memory.check(self._settings.worker_max_rss_bytes)
        self._rolling_restart.step()

    def _restart_exited(self) -> None:
        for worker in self._collect_exited():
            if self._must_stop:
                return
            if self._failed_starts >= MAX_FAILED_STARTS:
                log.error("gave up: workers die before they are up", deaths=self._failed_starts)
                self._code = CRASH_LOOP
                self.stop()
                return
            if self._failed_starts:
                self._back_off(BACKOFF_S * 2 ** (self._failed_starts - 1))
            if self._pool.replacement is None or self._pool.replacement.index != worker.index:
                self._pool.start(worker.index)

    def _back_off(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._must_stop and time.monotonic() < until:
            self._wait(until - time.monotonic())

    def _collect_exited(self) -> list[WorkerProcess]:
        """Remove ended workers; return those that must be restarted."""
        missing = []
        for worker in [worker for worker in self._pool.all() if worker.returncode is not None]:
            if self._pool.serving.get(worker.index) is worker:
                missing.append(worker)
                self._failed_starts = 0 if worker.slot.has_been_up else self._failed_starts + 1
            is_expected = worker is self._pool.retiring and worker.returncode == 0
            self._collect(worker, died=not is_expected)
        return missing

    def _collect(self, worker: WorkerProcess, *, died: bool) -> None:
        self._pool.remove(worker)
        self._on_end(worker, died)
        worker.slot.reset()

    def _check_started(self) -> None:
        if not self._scoreboard.booted and self._pool.is_up:
            self._scoreboard.mark_booted()
            log.info("workers started", workers=len(self._pool.indexes))

    def _drain(self) -> None:
        if self._scoreboard.booted:
            self._scoreboard.phase = Phase.DRAINING
            self._wait_for_exits(time.monotonic() + self._settings.drain_delay_s)
        now = time.monotonic()
        self._over_at = now + self._settings.shutdown_grace_s + self._settings.shutdown_flush_s + MARGIN_S
        self._scoreboard.deadline = now + self._settings.shutdown_grace_s
        self._scoreboard.phase = Phase.STOPPING
        # The main process's copy; once the workers' copies are closed too, connections are refused instead of
        # queued.
        self._listener.close()
        for worker in self._pool.all():
            if worker.slot.state is WorkerState.BOOTING:
                # It has no connections yet and may take long to check the phase.
                worker.kill()
        if not self._wait_for_exits(self._over_at):
            self._kill_remaining()

    def _wait_for_exits(self, deadline: float) -> bool:
        """Wait until no worker runs; return whether that happened before the deadline."""
        while self._pool.all():
            self._collect_all()
            left = deadline - time.monotonic()
            if not self._pool.all() or left <= 0:
                break
            self._wait(min(left, _TICK_S))
        return not self._pool.all()

    def _collect_all(self) -> None:
        for worker in [worker for worker in self._pool.all() if worker.returncode is not None]:
            is_expected = worker.was_killed or worker.slot.state is WorkerState.BOOTING
            died = worker.returncode != 0 and not is_expected
            if died:
                self._code = self._code or WORKER_KILLED
            self._collect(worker, died=died)

    def _kill_remaining(self) -> None:
        for worker in self._pool.all():
            log.error("worker killed: it did not stop in time", index=worker.index, worker_pid=worker.pid)
        self.kill()
        self._code = self._code or WORKER_KILLED
        self._wait_for_exits(time.monotonic() + MARGIN_S)


class Supervision(NamedTuple):
    """A supervisor and the objects it works with."""

    scoreboard: Scoreboard
    pool: WorkerPool
    supervisor: Supervisor
    startup: StartupListener
    metrics: multiprocess.WorkerMetrics


def build_supervisor(
    service: Service,
    config: ReloadableConfig,
    directory: RuntimeDirectory,
    listener: socket.socket,
    *,
    first: SpareProcess,
) -> Supervision:
    """Create the supervisor and its worker pool; no worker is started yet.

    Args:
        service: The service to serve.
        config: Configuration that workers are started with.
        directory: Directory of shared memory and metrics.
        listener: Socket the workers will accept from.
        first: Interpreter of the first worker, which prepares the startup.
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
    return Supervision(scoreboard, pool, supervisor, spawner.startup, metrics)

"""Supervisor of the workers: starts, replaces, drains and ends them."""

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event

import structlog

from .._config.exit_codes import CRASH_LOOP, STOPPED, WORKER_KILLED
from .._config.settings import ServerSettings
from .._ipc.scoreboard import Phase, Scoreboard, WorkerState
from .._ipc.worker_process import WorkerProcess
from .._process.inherited import reap_orphans
from .config_reload import ReloadableConfig
from .lifecycle import Lifecycle
from .restarts import Restarts
from .rolling_restart import MARGIN_S, RELOAD, RollingRestart
from .worker_pool import WorkerPool

log = structlog.get_logger(__name__)

SAMPLE_INTERVAL_S = 0.5
"""Seconds between two samples of each worker's memory."""
_TICK_S = 0.1
"""Seconds between two steps of a rolling restart or a shutdown; everything else is an event."""

_MIN_DRAIN_S = 0.025
"""Minimum seconds of a drain, so that the signal is logged before what the workers log when they stop: lines
are written in the background."""


class Supervisor:
    """Keeps the configured number of workers running until the service stops.

    Args:
        listener: The listening socket; None if the service serves no requests.
        on_exit: Called with each worker that has ended, and whether that was unexpected.
        reload_requested: Set to reload the configuration and replace every worker.
    """

    def __init__(
        self,
        config: ReloadableConfig,
        lifecycle: Lifecycle,
        scoreboard: Scoreboard,
        listener: socket.socket | None,
        *,
        pool: WorkerPool,
        rolling_restart: RollingRestart,
        on_exit: Callable[[WorkerProcess, bool], None],
        reload_requested: Event,
    ) -> None:
        self.pool = pool
        self._config = config
        self._lifecycle = lifecycle
        self._scoreboard = scoreboard
        self._listener = listener
        self._rolling_restart = rolling_restart
        self._next_sample_at = 0.0
        self._on_exit = on_exit
        self._reload_requested = reload_requested
        self._waker, self._wakes = socket.socketpair()
        self._waker.setblocking(False)
        self._restarts = Restarts()
        self._code = STOPPED
        self._over_at = 0.0

    @property
    def _settings(self) -> ServerSettings:
        return self._config.active.server

    @property
    def flush_s(self) -> float:
        """Seconds left for flushing in the main process after `run`."""
        return min(self._settings.shutdown_flush_s, self._over_at - time.monotonic())

    def wake(self) -> None:
        """Check the workers and the phase immediately; called from other threads."""
        with suppress(BlockingIOError):
            self._waker.send(b"\0")

    def run(self) -> int:
        """Supervise the started workers until the service stops, then drain; return the exit code."""
        while not self._lifecycle.is_stopping:
            due_s = [self._restarts.due_in_s(i, now=time.monotonic()) for i in self.pool.missing()]
            self._wait(min([_TICK_S if self._rolling_restart.is_running else SAMPLE_INTERVAL_S, *due_s]))
            self._collect_exited()
            reap_orphans({worker.pid for worker in self.pool.all()})
            self._start_missing()
            if self.pool.is_up:
                count = len(self.pool.indexes)
                self._lifecycle.advance(Phase.RUNNING, "workers started", after=Phase.STARTING, workers=count)
            if self._lifecycle.phase is Phase.RUNNING:
                self._replace_workers()
        self._stop_workers()
        return self._code

    def _wait(self, timeout_s: float) -> None:
        """Wait for an event: the end or a notice of a worker, a signal, or the timeout."""
        channels = [worker.channel for worker in self.pool.all() if worker.channel.is_connected]
        # Not `select`, which fails for descriptors from 1024 on.
        poller = select.poll()
        for descriptor in (self._wakes.fileno(), *(channel.fileno() for channel in channels)):
            poller.register(descriptor, select.POLLIN)
        readable = {descriptor for descriptor, _ in poller.poll(max(0.0, timeout_s) * 1000)}
        if self._wakes.fileno() in readable:
            self._wakes.recv(4096)
        for channel in channels:
            if channel.fileno() in readable:
                channel.read_notices()

    def _replace_workers(self) -> None:
        if self._reload_requested.is_set():
            self._reload_requested.clear()
            if self._config.reload():
                self._rolling_restart.request(self.pool.indexes, RELOAD)
        if time.monotonic() >= self._next_sample_at:
            self._next_sample_at = time.monotonic() + SAMPLE_INTERVAL_S
            self._measure_memory(self._settings.worker_max_rss_bytes)
        self._rolling_restart.step()

    def _measure_memory(self, limit: int | None) -> None:
        for worker in self.pool.all():
            worker.measure()
        for worker in self.pool.serving.values():
            if limit is not None and worker.is_up:
                self._apply_memory_limit(worker, limit)

    def _apply_memory_limit(self, worker: WorkerProcess, limit: int) -> None:
        """Schedule the replacement of a worker above the limit; it serves until its replacement is ready."""
        is_new, worker.was_up_when_measured = not worker.was_up_when_measured, True
        if worker.rss_bytes <= limit or worker.is_over_limit:
            return
        fields = {"index": worker.index, "worker_pid": worker.pid, "rss_bytes": worker.rss_bytes}
        if is_new:
            # Its replacement would exceed the limit as well.
            log.error("WORKER_MAX_RSS_BYTES is below what a worker needs to start", limit=limit, **fields)
        elif self._rolling_restart.is_requested(worker.index):
            return
        else:
            log.warning("worker exceeded the memory limit and is being replaced", limit=limit, **fields)
            self._rolling_restart.request([worker.index], "memory")
        worker.is_over_limit = True

    def _collect_exited(self) -> None:
        """Remove ended workers; give up if those of one index end before they are up."""
        for worker in self.pool.exited():
            is_serving, up_s = self.pool.serving.get(worker.index) is worker, worker.slot.up_s
            is_expected = worker is self.pool.retiring and worker.returncode == 0
            self._collect(worker, died=not is_expected)
            if is_serving:
                self._record_end(worker.index, up_s)

    def _record_end(self, index: int, up_s: float | None) -> None:
        ends = self._restarts.record_end(index, up_s=up_s, now=time.monotonic())
        if ends.is_crash_loop:
            if not self._lifecycle.is_stopping:
                self._code = CRASH_LOOP
                message = "gave up: workers die before they are up"
                self._lifecycle.stop(message, level="error", index=index, deaths=ends.failed_starts)
        elif ends.delay_s:
            fields = {"index": index, "deaths": ends.deaths, "delay_s": ends.delay_s}
            log.warning("worker restart delayed", **fields)

    def _start_missing(self) -> None:
        for index in self.pool.missing():
            if not self._restarts.due_in_s(index, now=time.monotonic()):
                self.pool.start(index)

    def _collect(self, worker: WorkerProcess, *, died: bool) -> None:
        self.pool.remove(worker)
        self._on_exit(worker, died)
        worker.slot.reset()

    def _stop_workers(self) -> None:
        # Without requests there is no load balancer that must learn of the stop.
        if self._lifecycle.phase is Phase.DRAINING and self._listener is not None:
            self._wait_for_exits(time.monotonic() + max(_MIN_DRAIN_S, self._settings.drain_delay_s))
        now = time.monotonic()
        self._over_at = now + self._settings.shutdown_grace_s + self._settings.shutdown_flush_s + MARGIN_S
        self._scoreboard.deadline = now + self._settings.shutdown_grace_s
        if self._listener is None:
            self._lifecycle.advance(Phase.STOPPING, "stopped taking work")
        else:
            self._lifecycle.advance(Phase.STOPPING, "stopped accepting connections")
            # The main process's copy; once the workers' copies are closed too, connections are refused
            # instead of queued.
            self._listener.close()
        for worker in self.pool.all():
            if worker.slot.state is WorkerState.STARTING:
                # It has no connections yet and may take long to check the phase.
                worker.kill()
        if not self._wait_for_exits(self._over_at):
            self._kill_remaining()

    def _wait_for_exits(self, deadline: float) -> bool:
        """Wait until no worker runs; return whether that happened before the deadline."""
        while self.pool.all():
            self._collect_stopped()
            left = deadline - time.monotonic()
            if not self.pool.all() or left <= 0:
                break
            self._wait(min(left, _TICK_S))
        return not self.pool.all()

    def _collect_stopped(self) -> None:
        for worker in self.pool.exited():
            is_expected = worker.was_killed or worker.slot.state is WorkerState.STARTING
            died = worker.returncode != 0 and not is_expected
            if died:
                self._code = self._code or WORKER_KILLED
            self._collect(worker, died=died)

    def _kill_remaining(self) -> None:
        for worker in self.pool.all():
            log.error("worker killed: it did not stop in time", index=worker.index, worker_pid=worker.pid)
        self.pool.kill_all()
        self._code = self._code or WORKER_KILLED
        self._wait_for_exits(time.monotonic() + MARGIN_S)

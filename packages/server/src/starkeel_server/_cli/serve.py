"""The main process: startup, supervision and shutdown."""

import gc
import os
import platform
import signal
import traceback
from threading import Event
from typing import Any, NoReturn

import structlog
from starkeel_config import ConfigurationError, Resolved, ServiceSettings

from .._admin.control_client import ControlClient
from .._admin.endpoints import OperatorEndpoints, index_endpoint, metrics_endpoint
from .._admin.http_server import serve_admin
from .._admin.worker_status import WorkerStatus
from .._config.exit_codes import CRASH_LOOP, SECOND_SIGNAL, STOPPED, StartError, leave
from .._config.service import Service
from .._config.settings import ServerSettings
from .._control.log_levels import MainLogLevels
from .._control.process_hooks import ProcessHooks
from .._ipc.scoreboard import Phase, Scoreboard
from .._ipc.spawn import SpareProcess
from .._ipc.worker_process import WorkerProcess
from .._process.runtime_dir import RuntimeDirectory, share_metrics
from .._process.signals import STOP_SIGNALS, SignalDispatcher
from .._process.sockets import BACKLOG, ListenSocket
from .._supervisor.config_reload import ReloadableConfig
from .._supervisor.lifecycle import Lifecycle
from .._supervisor.rolling_restart import RollingRestart
from .._supervisor.supervisor import Supervisor
from .._supervisor.worker_exits import WorkerReports
from .._supervisor.worker_pool import WorkerPool, WorkerSpawner

log = structlog.get_logger(__name__)

_EARLY_FLUSH_S = 0.5
"""Seconds for flushing when the process ends before it served, or on a second signal."""
_ROLL_BACK_S = 1.5
"""Seconds an interrupted migration may take to roll back; at most two with flushing."""


def serve(
    service: Service, signals: SignalDispatcher, first: SpareProcess, *, serves_requests: bool
) -> NoReturn:
    """Serve requests, or only do the work that is not a request, until a stop signal; then exit.

    Args:
        service: The service.
        signals: Receives signals.
        first: Interpreter of the first worker.
        serves_requests: Whether the application port is opened.
    """
    signals.handler = main = _MainProcess(service, first, serves_requests=serves_requests)
    code = main.run()
    leave(code, callbacks_s=main.callbacks_s)


class _MainProcess:
    """The life of the main process.

    The main thread starts and supervises workers; the signal thread may end the process at any time.
    """

    def __init__(self, service: Service, first: SpareProcess, *, serves_requests: bool) -> None:
        self._service = service
        self._serves_requests = serves_requests
        self._first = first
        self._lifecycle = Lifecycle(self._log)
        self._reload_requested = Event()
        self._hooks: ProcessHooks | None = None
        self._directory: RuntimeDirectory | None = None
        self._supervisor: Supervisor | None = None
        self.callbacks_s = _EARLY_FLUSH_S
        """Seconds for the callbacks of `atexit` after `run`."""

    def run(self) -> int:
        """Start, serve and drain; return the exit code."""
        try:
            supervisor = self._start()
        except Exception as error:  # noqa: BLE001 - the process ends and reports it
            return self._abort_start(error)
        try:
            code = supervisor.run()
        except Exception:
            log.exception("supervisor failed")
            code = CRASH_LOOP
        if self._lifecycle.phase is Phase.KILLED:
            _park()
        log.info("shutdown complete")
        self._clean_up(max(_EARLY_FLUSH_S, supervisor.flush_s))
        return code

    # Called in the signal thread.

    def on_stop(self, received: signal.Signals) -> None:
        """Start to stop; exit if the port is not open yet."""
        before = self._lifecycle.stop(STOP_SIGNALS[received])
        if before is Phase.PREPARING:
            self._end_startup()
            self._log("shutdown complete")
            self._clean_up(_EARLY_FLUSH_S)
            leave(STOPPED, callbacks_s=self.callbacks_s)
        self.on_child()

    def on_repeated_stop(self, received: signal.Signals) -> None:
        """Go on stopping."""
        self._log(f"{STOP_SIGNALS[received]} again: already stopping")

    def on_quit(self, message: str) -> None:
        """Kill all workers and exit, without callbacks of `atexit`: nothing may delay it."""
        # Before the workers are killed, so that the main thread does not end the process first.
        self._lifecycle.advance(Phase.KILLED, message)
        if self._supervisor is not None:
            self._supervisor.pool.kill_all()
        self._clean_up(_EARLY_FLUSH_S)
        leave(SECOND_SIGNAL)

    def on_reload(self) -> None:
        """Reload the configuration as soon as all workers are up."""
        self._log("received SIGHUP")
        self._reload_requested.set()
        self.on_child()

    def on_child(self) -> None:
        """Let the supervisor check the workers and the phase."""
        if self._supervisor is not None:
            self._supervisor.wake()

    # Called in the main thread.

    def _start(self) -> Supervisor:
        """Do everything before workers may serve."""
        resolved = self._service.resolve()
        config = ReloadableConfig(self._service, resolved)
        server = config.active.server
        self._directory = directory = RuntimeDirectory(self._service.name)
        share_metrics(directory.metrics)
        port = ListenSocket(server.host, server.port, variable="PORT") if self._serves_requests else None
        listener = None if port is None else port.socket
        reports = WorkerReports(directory.metrics)
        spawner = WorkerSpawner(
            service=self._service, config=config, directory=directory, listener=listener, first=self._first
        )
        scoreboard = Scoreboard.create(directory.scoreboard, slots=server.workers + 1)
        pool = WorkerPool(scoreboard, self._lifecycle, spawner)
        self._lifecycle.publish_to(scoreboard, pool.notify_all)
        self._supervisor = supervisor = Supervisor(
            config,
            self._lifecycle,
            scoreboard,
            listener,
            pool=pool,
            rolling_restart=RollingRestart(pool, config, on_replaced=reports.report_replacement),
            on_exit=reports.report_exit,
            reload_requested=self._reload_requested,
        )
        # Early: workers import while this process continues its setup.
        for index in pool.indexes:
            pool.start(index)
        reports.create_metrics()
        self._set_up(resolved, config, directory, pool)
        spawner.startup.wait()
        if not self._open(port, server):
            _park()
        return supervisor

    def _open(self, port: ListenSocket | None, server: ServerSettings) -> bool:
        """Let the workers begin; return False if the service stops."""
        if port is None:
            return self._lifecycle.advance(Phase.STARTING, "working")
        port.open(backlog=BACKLOG)
        return self._lifecycle.advance(Phase.STARTING, "listening", addr=port.address, tls=server.uses_tls)

    def _set_up(
        self,
        resolved: Resolved[ServiceSettings],
        config: ReloadableConfig,
        directory: RuntimeDirectory,
        pool: WorkerPool,
    ) -> None:
        """Set up logging and telemetry, and open the admin port."""
        server = config.active.server
        hooks = ProcessHooks.of_main(resolved.settings)
        hooks.start_process(role="main", index=0, workers=server.workers)
        self._hooks = hooks
        _log_start(self._service, resolved, serves_requests=self._serves_requests)
        config.log_levels = levels = MainLogLevels(
            hooks.set_log_levels, directory.path, configured=config.active.log_level_text
        )

        def serving() -> list[WorkerProcess]:
            return [] if self._lifecycle.phase is Phase.PREPARING else pool.all()

        workers = ControlClient(directory.path, serving)
        operator = OperatorEndpoints(
            service=self._service, config=config, hooks=hooks, workers=workers, levels=levels
        )
        status = WorkerStatus(self._lifecycle, pool, serves_requests=self._serves_requests)
        endpoints = {
            "/metrics": metrics_endpoint(directory.metrics, [*hooks.collectors(), status]),
            **status.endpoints(),
            **operator.by_path(),
        }
        port = ListenSocket(server.metrics_host, server.metrics_port, variable="METRICS_PORT")
        port.open(backlog=128)
        serve_admin(port.socket, {"/": index_endpoint(endpoints), **endpoints})
        log.info("admin port opened", addr=port.address)
        gc.freeze()
        gc.enable()

    def _abort_start(self, error: Exception) -> int:
        """Report why the service could not start, and end the workers; return the exit code."""
        reason, trace = str(error), getattr(error, "trace", "")
        if not isinstance(error, StartError | ConfigurationError):
            reason, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
        message, fields = "could not start", {"reason": reason} | ({"traceback": trace} if trace else {})
        if self._hooks is None:
            message = f"{trace}{self._service.name} could not start: {reason}"
        if isinstance(error, ConfigurationError):
            message = reason
        if not self._lifecycle.advance(Phase.STOPPING, message, level="error", **fields):
            # A stop signal came first.
            _park()
        self._end_startup()
        self._clean_up(_EARLY_FLUSH_S)
        return getattr(error, "exit_code", CRASH_LOOP)

    # Called in either thread.

    def _end_startup(self) -> None:
        if self._supervisor is not None:
            self._supervisor.pool.end_startup(timeout_s=_ROLL_BACK_S)

    def _clean_up(self, flush_s: float) -> None:
        if self._hooks is not None:
            self.callbacks_s = self._hooks.stop_process(timeout_s=flush_s)
        if self._directory is not None:
            self._directory.remove()

    def _log(self, message: str, *, level: str = "info", **fields: Any) -> None:
        if self._hooks is None:
            # Logging is not configured yet; write to stderr directly to avoid blocking on an import lock.
            os.write(2, f"{message}\n".encode())
        else:
            getattr(log, level)(message, **fields)


def _log_start(service: Service, resolved: Resolved[ServiceSettings], *, serves_requests: bool) -> None:
    log.info(
        "starting application",
        service=service.name,
        command="serve" if serves_requests else "worker",
        version=service.version(),
        environment=resolved.settings.environment,
        pid=os.getpid(),
        python=platform.python_version(),
    )
    for warning in resolved.warnings:
        log.warning("suspicious configuration", problem=warning)


def _park() -> NoReturn:
    """Block until the signal thread ends the process."""
    Event().wait()
    raise AssertionError

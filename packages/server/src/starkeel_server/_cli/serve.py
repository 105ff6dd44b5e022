"""The main process: startup, supervision and shutdown."""

import gc
import os
import platform
import signal
import sys
import traceback
from threading import Event, Lock
from typing import NoReturn

import structlog
from starkeel_config import ConfigurationError, Resolved, ServiceSettings, resolve

from .._admin.endpoints import MainStatus, operator_endpoints
from .._admin.http_server import AdminRequest, AdminResponse, Endpoint, serve_admin
from .._compat import check_prometheus_client
from .._config.exit_codes import CRASH_LOOP, SECOND_SIGNAL, STOPPED, StartError, leave
from .._config.service import ENVIRON, Service
from .._control.process_hooks import ProcessHooks
from .._ipc.spawn import SpareProcess
from .._ipc.startup_channel import StartupFailure
from .._metrics import multiprocess
from .._process.runtime_dir import RuntimeDirectory
from .._process.signals import STOPS, SignalDispatcher
from .._process.sockets import BACKLOG, ListenSocket
from .._supervisor.config_reload import ReloadableConfig
from .._supervisor.supervisor import Supervision, Supervisor, build_supervisor

log = structlog.get_logger(__name__)

_EARLY_FLUSH_S = 0.5
"""Seconds for flushing when the process ends before it served, or on a second signal."""
_ROLL_BACK_S = 1.5
"""Seconds an interrupted migration may take to roll back; at most two with flushing."""


def serve(service: Service, signals: SignalDispatcher, first: SpareProcess) -> NoReturn:
    """Serve until a stop signal, then exit.

    Args:
        service: The service to serve.
        signals: Dispatcher created before the imports.
        first: Interpreter of the first worker.
    """
    main = _MainProcess(service, first)
    signals.set_handlers(main.on_stop, on_reload=main.on_reload, on_child=main.on_child)
    leave(main.run())


class _MainProcess:
    """The life of the main process.

    The main thread starts and supervises workers; the signal thread may end the process at any time.
    """

    def __init__(self, service: Service, first: SpareProcess) -> None:
        self._service = service
        self._first = first
        self._lock = Lock()
        self._must_stop = False
        self._must_reload = False
        self._exits_immediately = False
        self._hooks: ProcessHooks | None = None
        self._directory: RuntimeDirectory | None = None
        self._supervision: Supervision | None = None
        self._supervisor: Supervisor | None = None
        self._state = MainStatus()

    def run(self) -> int:
        """Start, serve and drain; return the exit code."""
        flush_s = _EARLY_FLUSH_S
        try:
            resolved = resolve(self._service.settings_class(), ENVIRON, service=self._service.name)
            config = ReloadableConfig(self._service, resolved)
            supervisor = self._boot(resolved, config)
            code = supervisor.run()
            if self._exits_immediately:
                _park()
            log.info("shutdown complete")
            flush_s = max(flush_s, supervisor.flush_s)
        except ConfigurationError as error:
            # Not logged: the text is complete and formatted for people.
            sys.stderr.write(f"{error}\n")
            code = error.exit_code
        except StartupFailure as error:
            code = error.exit_code
            self._report_failure(str(error), trace=error.trace)
        except StartError as error:
            code = error.exit_code
            self._report_failure(str(error))
        except Exception as error:  # noqa: BLE001 - the process ends and reports it
            code = CRASH_LOOP
            self._report_failure(f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        if self._supervisor is None:
            if self._must_stop:
                _park()
            self._terminate_workers()
        self._clean(flush_s)
        return code

    def on_stop(self, received: signal.Signals) -> None:
        """Start to stop; exit immediately on a second signal. Called in the signal thread."""
        with self._lock:
            is_second, self._must_stop = self._must_stop, True
            supervisor = self._supervisor
        if is_second:
            self._exit_immediately(received)
        self._log(STOPS[received])
        if supervisor is not None:
            supervisor.stop()
        else:
            self._exit_before_serving()

    def on_reload(self) -> None:
        """Reload the configuration as soon as there are workers; called in the signal thread."""
        with self._lock:
            self._must_reload = True
            supervisor = self._supervisor
        self._log("received SIGHUP")
        if supervisor is not None:
            supervisor.reload()

    def on_child(self) -> None:
        """Check the workers, as a process has ended; called in the signal thread."""
        if self._supervisor is not None:
            self._supervisor.wake()

    def _boot(self, resolved: Resolved[ServiceSettings], config: ReloadableConfig) -> Supervisor:
        """Do everything before workers may serve."""
        server = config.active.server
        self._directory = RuntimeDirectory(self._service.name)
        multiprocess.set_directory(self._directory.metrics)
        port = ListenSocket(server.host, server.port, variable="PORT")
        # Early: workers import while this process continues its setup.
        supervision = self._start_workers(
            build_supervisor(self._service, config, self._directory, port.socket, first=self._first)
        )
        check_prometheus_client(self._directory.metrics)
        multiprocess.name_process("main")
        supervision.metrics.register()
        self._set_up(resolved, config)
        self._prepare(supervision)
        port.open(backlog=BACKLOG)
        return self._open(supervision, port, uses_tls=server.uses_tls)

    def _set_up(self, resolved: Resolved[ServiceSettings], config: ReloadableConfig) -> None:
        hooks = ProcessHooks.of_main(resolved.settings)
        hooks.start_process(role="main", index=0, workers=config.active.server.workers)
        self._hooks = hooks
        _report_start(self._service, resolved)
        self._open_admin_port(config, hooks)
        gc.freeze()
        gc.enable()

    def _open_admin_port(self, config: ReloadableConfig, hooks: ProcessHooks) -> None:
        server = config.active.server
        port = ListenSocket(server.metrics_host, server.metrics_port, variable="METRICS_PORT")
        port.open(backlog=128)
        registry = multiprocess.registry(self._dir.metrics, hooks.collectors())

        def metrics(request: AdminRequest) -> AdminResponse:
            body, content_type = multiprocess.render(registry, request.headers.get("accept", ""))
            return AdminResponse(200, content_type, body)

        endpoints = {
            "/metrics": Endpoint(metrics),
            "/live": Endpoint(self._state.live),
            "/ready": Endpoint(self._state.ready),
        }
        private = operator_endpoints(self._service, config, hooks, self._dir.path, self._state.workers)
        serve_admin(port.socket, endpoints | private)
        log.info("admin port opened", addr=port.address)

    def _start_workers(self, supervision: Supervision) -> Supervision:
        with self._lock:
            must_stop = self._must_stop
            self._supervision = supervision
        if must_stop:
            _park()
        self._state.migrating()
        for index in supervision.pool.indexes:
            supervision.pool.start(index)
        return supervision

    def _prepare(self, supervision: Supervision) -> None:
        try:
            supervision.startup.wait()
        except StartupFailure:
            # The signal thread ends the workers, which then report nothing.
            if self._must_stop:
                _park()
            raise

    def _open(self, supervision: Supervision, port: ListenSocket, *, uses_tls: bool) -> Supervisor:
        with self._lock:
            if not self._must_stop:
                self._supervisor = supervision.supervisor
            must_reload = self._must_reload
        if self._supervisor is None:
            _park()
        log.info("listening", addr=port.address, tls=uses_tls)
        self._state.serving(supervision.scoreboard, supervision.pool)
        supervision.scoreboard.open()
        if must_reload:
            supervision.supervisor.reload()
        return supervision.supervisor

    @property
    def _dir(self) -> RuntimeDirectory:
        assert self._directory is not None
        return self._directory

    def _exit_before_serving(self) -> NoReturn:
        """Exit before the port is open; a migration gets time to roll back."""
        self._terminate_workers()
        self._log("shutdown complete")
        self._clean(_EARLY_FLUSH_S)
        leave(STOPPED)

    def _terminate_workers(self) -> None:
        if self._supervision is not None:
            self._supervision.pool.terminate_all(timeout_s=_ROLL_BACK_S)

    def _exit_immediately(self, received: signal.Signals) -> NoReturn:
        # Before the workers are killed: the main thread must not end the process first.
        self._exits_immediately = True
        self._log(f"{STOPS[received]} again: exiting immediately")
        if self._supervision is not None:
            self._supervision.supervisor.kill()
        self._clean(_EARLY_FLUSH_S)
        leave(SECOND_SIGNAL)

    def _clean(self, flush_s: float) -> None:
        if self._hooks is not None:
            self._hooks.stop_process(timeout_s=flush_s)
        if self._directory is not None:
            self._directory.remove()

    def _log(self, message: str) -> None:
        # Logging is not configured yet; write to stderr directly to avoid blocking on an import lock.
        if self._hooks is None:
            os.write(2, f"{message}\n".encode())
        else:
            log.info(message)

    def _report_failure(self, reason: str, *, trace: str = "") -> None:
        """Report why the service could not start, with the traceback of an unexpected error."""
        if self._hooks is not None:
            log.error("could not start", reason=reason, **({"exception": trace} if trace else {}))
            return
        sys.stderr.write(f"{trace}{self._service.name} could not start: {reason}\n")


def _report_start(service: Service, resolved: Resolved[ServiceSettings]) -> None:
    """Log the start, and warnings about the configuration."""
    log.info(
        "starting application",
        service=service.name,
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

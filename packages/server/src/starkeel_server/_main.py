"""The main process: everything before the first request, and everything after the last."""

import gc
import os
import signal
import sys
import traceback
from threading import Event, Lock
from typing import NoReturn

import structlog
from starkeel_config import ConfigurationError, Resolved, ServiceSettings, resolve

from . import _metrics
from ._admin import Asked, Offer, Page, serve_admin
from ._boot import report_start
from ._configuration import Configuration
from ._engine import BACKLOG
from ._environ import ENVIRON
from ._exits import CRASH_LOOP, SECOND_SIGNAL, STOPPED, StartError, leave
from ._pages import operator_pages
from ._parts import Parts
from ._preparation import Failure
from ._recruit import Recruit
from ._rundir import RunDirectory
from ._service import Service
from ._signals import STOPS, SignalWatch
from ._sockets import Port
from ._staffing import Staff, staffed
from ._state import MainState
from ._supervisor import Supervisor

log = structlog.get_logger(__name__)

_EARLY_FLUSH_S = 0.5
"""Seconds for flushing when the process ends before it served, or is told to end at once."""
_ROLL_BACK_S = 1.5
"""Seconds a migration that is interrupted may take to roll back; together with flushing no more than two."""


def serve(service: Service, signals: SignalWatch, first: Recruit) -> NoReturn:
    """Serve until a signal says stop, and end the process with the code that tells how it went.

    Args:
        service: What to serve.
        signals: Handed over by whoever watched them so far.
        first: Will be the first worker.
    """
    main = _Main(service, first)
    signals.hand_over(main.on_stop, on_reload=main.on_reload, on_child=main.on_child)
    leave(main.run())


class _Main:
    """The life of the main process.

    The main thread boots and supervises; the thread of the signals may end the process at any moment.
    """

    def __init__(self, service: Service, first: Recruit) -> None:
        self._service = service
        self._first = first
        self._lock = Lock()
        self._must_stop = False
        self._must_reload = False
        self._ends_at_once = False
        self._parts: Parts | None = None
        self._directory: RunDirectory | None = None
        self._staff: Staff | None = None
        self._supervisor: Supervisor | None = None
        self._state = MainState()

    def run(self) -> int:
        """Boot, serve, drain; the exit code."""
        flush_s = _EARLY_FLUSH_S
        try:
            resolved = resolve(self._service.settings_class(), ENVIRON, service=self._service.name)
            configuration = Configuration(self._service, resolved)
            supervisor = self._boot(resolved, configuration)
            code = supervisor.run()
            if self._ends_at_once:
                _park()
            log.info("shutdown complete")
            flush_s = max(flush_s, supervisor.flush_s)
        except ConfigurationError as error:
            # The text is for people and complete: nothing else stands around it.
            sys.stderr.write(f"{error}\n")
            code = error.exit_code
        except Failure as error:
            code = error.exit_code
            self._tell(str(error), trace=error.trace)
        except StartError as error:
            code = error.exit_code
            self._tell(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the process ends and says it
            code = CRASH_LOOP
            self._tell(f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        if self._supervisor is None:
            if self._must_stop:
                _park()
            self._dismiss_workers()
        self._clean(flush_s)
        return code

    def on_stop(self, received: signal.Signals) -> None:
        """Stop, or end at once when that was asked for before; called in the thread of the signals."""
        with self._lock:
            is_second, self._must_stop = self._must_stop, True
            supervisor = self._supervisor
        if is_second:
            self._end_at_once(received)
        self._say(STOPS[received])
        if supervisor is not None:
            supervisor.stop()
        else:
            self._end_early()

    def on_reload(self) -> None:
        """Read the configuration anew, as soon as there are workers; called in the thread of the signals."""
        with self._lock:
            self._must_reload = True
            supervisor = self._supervisor
        self._say("received SIGHUP")
        if supervisor is not None:
            supervisor.reload()

    def on_child(self) -> None:
        """A worker has ended; called in the thread of the signals."""
        if self._supervisor is not None:
            self._supervisor.wake()

    def _boot(self, resolved: Resolved[ServiceSettings], configuration: Configuration) -> Supervisor:
        """Everything before workers may serve."""
        server = configuration.proven.server
        self._directory = RunDirectory(self._service.name)
        _metrics.prepare(self._directory.metrics)
        port = Port(server.host, server.port, variable="PORT")
        # First of all: they have far more to import than is done here meanwhile.
        staff = self._start_workers(
            staffed(self._service, configuration, self._directory, port.socket, first=self._first)
        )
        _metrics.name_process("main")
        staff.metrics.begin()
        self._set_up(resolved, configuration)
        self._prepare(staff)
        port.open(backlog=BACKLOG)
        return self._open(staff, port, uses_tls=server.uses_tls)

    def _set_up(self, resolved: Resolved[ServiceSettings], configuration: Configuration) -> None:
        parts = Parts.of_main(resolved.settings)
        parts.start_process(role="main", index=0, workers=configuration.proven.server.workers)
        self._parts = parts
        report_start(self._service, resolved)
        self._open_admin_port(configuration, parts)
        gc.freeze()
        gc.enable()

    def _open_admin_port(self, configuration: Configuration, parts: Parts) -> None:
        server = configuration.proven.server
        port = Port(server.metrics_host, server.metrics_port, variable="METRICS_PORT")
        port.open(backlog=128)
        registry = _metrics.registry(self._dir.metrics, parts.collectors())

        def metrics(asked: Asked) -> Page:
            body, content_type = _metrics.render(registry, asked.headers.get("accept", ""))
            return Page(200, content_type, body)

        offers = {
            "/metrics": Offer(metrics),
            "/live": Offer(self._state.live),
            "/ready": Offer(self._state.ready),
        }
        private = operator_pages(self._service, configuration, parts, self._dir.path, self._state.workers)
        serve_admin(port.socket, offers | private)
        log.info("admin port opened", addr=port.address)

    def _start_workers(self, staff: Staff) -> Staff:
        with self._lock:
            must_stop = self._must_stop
            self._staff = staff
        if must_stop:
            _park()
        self._state.migrating()
        for index in staff.crew.indexes:
            staff.crew.start(index)
        return staff

    def _prepare(self, staff: Staff) -> None:
        try:
            staff.preparation.run()
        except Failure:
            # They are ended when that is what was asked for, and tell nothing then.
            if self._must_stop:
                _park()
            raise

    def _open(self, staff: Staff, port: Port, *, uses_tls: bool) -> Supervisor:
        with self._lock:
            if not self._must_stop:
                self._supervisor = staff.supervisor
            must_reload = self._must_reload
        if self._supervisor is None:
            _park()
        log.info("listening", addr=port.address, tls=uses_tls)
        self._state.serving(staff.board, staff.crew)
        staff.board.open()
        if must_reload:
            staff.supervisor.reload()
        return staff.supervisor

    @property
    def _dir(self) -> RunDirectory:
        assert self._directory is not None
        return self._directory

    def _end_early(self) -> NoReturn:
        """End before anything was served; a migration is given the time to roll back."""
        self._dismiss_workers()
        self._say("shutdown complete")
        self._clean(_EARLY_FLUSH_S)
        leave(STOPPED)

    def _dismiss_workers(self) -> None:
        if self._staff is not None:
            self._staff.crew.dismiss(timeout_s=_ROLL_BACK_S)

    def _end_at_once(self, received: signal.Signals) -> NoReturn:
        # Before the workers are killed: the main thread, which notices that, is not to end the process first.
        self._ends_at_once = True
        self._say(f"{STOPS[received]} again: ending at once")
        if self._staff is not None:
            self._staff.supervisor.kill()
        self._clean(_EARLY_FLUSH_S)
        leave(SECOND_SIGNAL)

    def _clean(self, flush_s: float) -> None:
        if self._parts is not None:
            self._parts.stop_process(timeout_s=flush_s)
        if self._directory is not None:
            self._directory.remove()

    def _say(self, message: str) -> None:
        # Until logging is set up there is nothing to log by, and nothing being imported must be waited for.
        if self._parts is None:
            os.write(2, f"{message}\n".encode())
        else:
            log.info(message)

    def _tell(self, reason: str, *, trace: str = "") -> None:
        """Say why the service could not start, and where it was found when that was not foreseen."""
        if self._parts is not None:
            log.error("could not start", reason=reason, **({"exception": trace} if trace else {}))
            return
        sys.stderr.write(f"{trace}{self._service.name} could not start: {reason}\n")


def _park() -> NoReturn:
    """Leave the rest to the thread that is ending the process."""
    Event().wait()
    raise AssertionError

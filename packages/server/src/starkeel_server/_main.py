"""The main process: everything before the first request, and everything after the last."""

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
from ._boot import Preparation, report_start
from ._configuration import Configuration
from ._engine import BACKLOG, granian
from ._environ import ENVIRON
from ._exits import CRASH_LOOP, SECOND_SIGNAL, STOPPED, StartError, leave
from ._hooks import Hooks
from ._pages import operator_pages
from ._rundir import RunDirectory
from ._service import Service
from ._signals import STOPS, SignalWatch
from ._sockets import address_of, listen
from ._staffing import staffed
from ._state import MainState
from ._supervisor import Supervisor

log = structlog.get_logger(__name__)

_EARLY_FLUSH_S = 0.5
"""Seconds for flushing when the process ends before it served, or is told to end at once."""


def serve(service: Service, signals: SignalWatch) -> NoReturn:
    """Serve until a signal says stop, and end the process with the code that tells how it went.

    Args:
        service: What to serve.
        signals: Handed over by whoever watched them so far.
    """
    main = _Main(service)
    signals.hand_over(main.on_stop, on_reload=main.on_reload, on_child=main.on_child)
    leave(main.run())


class _Main:
    """The life of the main process.

    The main thread boots and supervises; the thread of the signals may end the process at any moment.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = Lock()
        self._must_stop = False
        self._must_reload = False
        self._ends_at_once = False
        self._hooks: Hooks | None = None
        self._directory: RunDirectory | None = None
        self._preparation = Preparation()
        self._supervisor: Supervisor | None = None
        self._state = MainState()

    def run(self) -> int:
        """Boot, serve, drain; the exit code."""
        flush_s = _EARLY_FLUSH_S
        try:
            resolved = resolve(self._service.settings_class(), ENVIRON, service=self._service.name)
            configuration = Configuration(self._service, resolved)
            self._boot(resolved, configuration)
            supervisor = self._supervise(configuration)
            code = supervisor.run()
            if self._ends_at_once:
                _park()
            log.info("shutdown complete")
            flush_s = max(flush_s, supervisor.flush_s)
        except ConfigurationError as error:
            # The text is for people and complete: nothing else stands around it.
            sys.stderr.write(f"{error}\n")
            code = error.exit_code
        except StartError as error:
            code = error.exit_code
            self._tell(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the process ends and says it
            code = CRASH_LOOP
            self._tell(f"{type(error).__name__}: {error}", unexpected=True)
        if self._must_stop and self._supervisor is None:
            _park()
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

    def _boot(self, resolved: Resolved[ServiceSettings], configuration: Configuration) -> None:
        """Everything up to the migrations."""
        granian()
        self._directory = RunDirectory(self._service.name)
        _metrics.prepare(self._directory.metrics)
        _metrics.name_process("main")
        hooks = Hooks(self._service.create_app(resolved.settings))
        hooks.server_plugin()
        server = configuration.proven.server
        hooks.start_process(role="main", index=0, workers=server.workers)
        self._hooks = hooks
        report_start(self._service, resolved, hooks)
        self._open_admin_port(configuration, hooks)
        self._state.migrating()
        if not self._preparation.run(hooks, at_start=True):
            _park()

    def _open_admin_port(self, configuration: Configuration, hooks: Hooks) -> None:
        server = configuration.proven.server
        listener = listen(server.metrics_host, server.metrics_port, variable="METRICS_PORT", backlog=128)
        registry = _metrics.registry(self._dir.metrics, hooks.collectors())

        def metrics(asked: Asked) -> Page:
            body, content_type = _metrics.render(registry, asked.headers.get("accept", ""))
            return Page(200, content_type, body)

        offers = {
            "/metrics": Offer(metrics),
            "/live": Offer(self._state.live),
            "/ready": Offer(self._state.ready),
        }
        private = operator_pages(self._service, configuration, hooks, self._dir.path, self._state.workers)
        serve_admin(listener, offers | private)
        log.info("admin port opened", addr=address_of(listener))

    def _supervise(self, configuration: Configuration) -> Supervisor:
        server = configuration.proven.server
        listener = listen(server.host, server.port, variable="PORT", backlog=BACKLOG)
        staff = staffed(self._service, configuration, self._dir, listener)
        with self._lock:
            if not self._must_stop:
                self._supervisor = staff.supervisor
            must_reload = self._must_reload
        if self._supervisor is None:
            _park()
        log.info("listening", addr=address_of(listener), tls=server.uses_tls)
        self._state.serving(staff.board, staff.crew)
        if must_reload:
            staff.supervisor.reload()
        return staff.supervisor

    @property
    def _dir(self) -> RunDirectory:
        assert self._directory is not None
        return self._directory

    def _end_early(self) -> NoReturn:
        """End before anything was served; a migration is given the time to roll back."""
        self._preparation.cancel()
        self._say("shutdown complete")
        self._clean(_EARLY_FLUSH_S)
        leave(STOPPED)

    def _end_at_once(self, received: signal.Signals) -> NoReturn:
        # Before the workers are killed: the main thread, which notices that, is not to end the process first.
        self._ends_at_once = True
        self._say(f"{STOPS[received]} again: ending at once")
        if self._supervisor is not None:
            self._supervisor.kill()
        self._clean(_EARLY_FLUSH_S)
        leave(SECOND_SIGNAL)

    def _clean(self, flush_s: float) -> None:
        if self._hooks is not None:
            self._hooks.stop_process(timeout_s=flush_s)
        if self._directory is not None:
            self._directory.remove()

    def _say(self, message: str) -> None:
        # Until logging is set up there is nothing to log by, and nothing being imported must be waited for.
        if self._hooks is None:
            os.write(2, f"{message}\n".encode())
        else:
            log.info(message)

    def _tell(self, reason: str, *, unexpected: bool = False) -> None:
        """Say why the service could not start, where it was found when that was not foreseen."""
        if self._hooks is not None:
            log.error("could not start", reason=reason, exc_info=unexpected)
            return
        if unexpected:
            traceback.print_exc()
        sys.stderr.write(f"{self._service.name} could not start: {reason}\n")


def _park() -> NoReturn:
    """Leave the rest to the thread that is ending the process."""
    Event().wait()
    raise AssertionError

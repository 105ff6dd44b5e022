"""A worker process: creates the application, serves it, and stops when the main process requests it."""

import asyncio
import gc
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
import structlog
import uvloop
from litestar import Litestar
from litestar.routes import ASGIRoute, WebSocketRoute

from .._app.plugin import ServerPlugin
from .._app.plugin_hooks import PluginHooks
from .._app.readiness import is_ready
from .._compat import check_litestar, granian
from .._config.exit_codes import CRASH_LOOP, STOPPED, WORKER_KILLED, leave
from .._config.service import NO_DOTENV
from .._control.log_levels import read_levels
from .._control.process_hooks import MIN_EXIT_S
from .._control.server import ControlServer
from .._ipc.config_snapshot import read_environ
from .._ipc.scoreboard import Phase, Scoreboard, WorkerState
from .._ipc.spawn import CommandChannel
from .._ipc.startup_channel import StartupReporter
from .._ipc.worker_process import REPLACED_GRACE_S, WorkerSpec
from .._process.runtime_dir import lock, share_metrics
from .connection_monitor import connection_monitor
from .granian_engine import Engine
from .loop_watchdog import loop_watchdog

log = structlog.get_logger(__name__)
T = TypeVar("T")

FAILED_EXIT_S = 0.5
"""Seconds for the callbacks of `atexit` in a worker that could not create the application."""
READINESS_INTERVAL_S = 1.0
"""Seconds between two rounds of readiness checks for the admin port."""
CLOSE_CONNECTIONS_S = (0.2, 2.0)
"""Minimum and maximum seconds, within the remaining grace, for connections without a request in flight to
close: responses on the way to slow clients, but also half-sent request heads."""


def run(channel: CommandChannel) -> NoReturn:
    """Serve what the main process sends until it stops this worker, then exit."""
    command, descriptors = channel.receive()
    spec = msgspec.json.decode(command, type=WorkerSpec)
    sys.path[:] = spec.path
    share_metrics(Path(spec.metrics))
    received = dict(zip(spec.descriptors, descriptors, strict=True))
    worker = None
    try:
        worker = _Worker(spec, received, channel)
        code = worker.run()
    except Exception:
        log.exception("worker failed", index=spec.index)
        code = CRASH_LOOP
    leave(code, callbacks_s=MIN_EXIT_S if worker is None else worker.callbacks_s)


class _Worker:
    """The life of one worker; `received` are its descriptors by those of the main process."""

    def __init__(self, spec: WorkerSpec, received: Mapping[int, int], channel: CommandChannel) -> None:
        self._spec = spec
        self._received = received
        self._channel = channel
        self._noticed = asyncio.Event()
        self._directory = Path(spec.scoreboard).parent
        lock(self._directory)
        self._slot = Scoreboard(Path(spec.scoreboard)).slot(spec.slot)
        self.callbacks_s = FAILED_EXIT_S
        """Seconds for the callbacks of `atexit` after `run`."""
        self._reporter = None if spec.startup is None else StartupReporter(received[spec.startup])

    def run(self) -> int:
        """Create the application, prepare the startup if needed, and serve; return the exit code."""
        try:
            app, hooks, control = self._create()
        except Exception as error:  # noqa: BLE001 - reported to the main process, or raised again
            return self._report_creation_failure(error)
        plugin = hooks.server_plugin()
        flush_until = time.monotonic() + plugin.settings.shutdown_flush_s
        code = CRASH_LOOP
        try:
            code, flush_until = _run(self._live(app, hooks, control))
        except Exception:
            log.exception("worker failed", index=self._spec.index)
        finally:
            self.callbacks_s = hooks.stop_process(timeout_s=max(MIN_EXIT_S, flush_until - time.monotonic()))
        return code

    def _create(self) -> tuple[Litestar, PluginHooks, ControlServer]:
        from .._metrics.shared_values import name_process

        # By slot, not by index: the worker that it replaces still writes metrics under its own name.
        name_process(str(self._spec.slot))
        service = self._spec.service
        environ = read_environ(self._spec, self._received)
        app = service.create_app(service.resolve(environ, dotenv=NO_DOTENV).settings)
        hooks = PluginHooks(app)
        granian()
        check_litestar()
        # Garbage collection was off during the imports.
        gc.freeze()
        gc.enable()
        plugin = hooks.server_plugin()
        plugin.slot = self._slot
        hooks.enable_work(self._spec.listener is None or plugin.settings.run_worker)
        hooks.start_process(role="worker", index=self._spec.index, workers=self._spec.workers)
        return app, hooks, self._start_control_server(hooks, environ)

    def _start_control_server(self, hooks: PluginHooks, environ: Mapping[str, str]) -> ControlServer:
        """Start the control server and apply the log levels an operator has set."""
        control = ControlServer(self._directory, self._spec.slot, hooks.inquiries())
        # After the socket is bound, before it answers: levels set meanwhile are in the file or its backlog.
        if (levels := read_levels(self._directory, environ)) is not None:
            hooks.set_log_levels(levels)
            log.info("log levels applied", levels=levels)
        control.start()
        return control

    def _report_creation_failure(self, error: Exception) -> int:
        if self._reporter is not None:
            self._reporter.fail(error)
            return CRASH_LOOP
        # The first worker fails in the same way and reports it; the main process then ends all workers.
        _run(self._until_open())
        raise error

    async def _live(self, app: Litestar, hooks: PluginHooks, control: ControlServer) -> tuple[int, float]:
        control.use_running_loop()
        plugin = hooks.server_plugin()
        is_prepared = self._reporter is None or await self._prepare(hooks, self._reporter)
        if is_prepared and await self._until_open():
            return await self._serve(app, hooks, plugin)
        return STOPPED, time.monotonic() + plugin.settings.shutdown_flush_s

    async def _prepare(self, hooks: PluginHooks, reporter: StartupReporter) -> bool:
        """Connect and migrate; return whether the port may be opened."""
        self._slot.state = WorkerState.PREPARING
        async with asyncio.TaskGroup() as tasks:
            preparation = tasks.create_task(_connect(hooks, reporter))
            stop = tasks.create_task(self._wait_until(lambda: self._must_end))
            await asyncio.wait([preparation, stop], return_when=asyncio.FIRST_COMPLETED)
            preparation.cancel()
            stop.cancel()
        if preparation.cancelled() or not preparation.result():
            return False
        self._slot.state = WorkerState.STARTING
        reporter.done()
        return True

    async def _until_open(self) -> bool:
        """Wait until the port is open; return False if the worker must stop first."""
        await self._wait_until(lambda: self._must_end or self._slot.scoreboard.phase is not Phase.PREPARING)
        return not self._must_end

    async def _wait_until(self, is_true: Callable[[], bool]) -> None:
        """Wait until the main process has notified this worker of a change that makes a condition true."""
        loop = asyncio.get_running_loop()
        self._channel.on_notice = lambda: loop.call_soon_threadsafe(self._noticed.set)
        while not is_true():
            await self._noticed.wait()
            self._noticed.clear()

    @property
    def _must_end(self) -> bool:
        return self._slot.phase >= Phase.STOPPING or self._channel.orphaned.is_set()

    async def _serve(self, app: Litestar, hooks: PluginHooks, plugin: ServerPlugin) -> tuple[int, float]:
        settings = plugin.settings
        flush_until = 0.0
        try:
            async with asyncio.timeout(None) as closing, app.lifespan():
                await self._run_until_stopped(app, hooks, plugin)
                self._slot.state = WorkerState.CLOSING
                flush_until = time.monotonic() + settings.shutdown_flush_s
                closing.reschedule(asyncio.get_running_loop().time() + settings.shutdown_flush_s)
        except TimeoutError:
            if not flush_until:
                raise
            log.error("shutdown timed out", after_s=settings.shutdown_flush_s, index=self._spec.index)
            return WORKER_KILLED, flush_until
        return STOPPED, flush_until

    async def _run_until_stopped(self, app: Litestar, hooks: PluginHooks, plugin: ServerPlugin) -> None:
        engine = self._create_engine(app, plugin)
        # Publish the state before checking for shutdown; otherwise the main process could kill a
        # worker that already accepts connections.
        self._slot.state = WorkerState.OPENING
        if self._must_end:
            return
        if engine is not None:
            engine.start()
        with loop_watchdog(self._slot, after_s=plugin.settings.loop_stall_s):
            self._slot.state = WorkerState.UP
            self._channel.notify()
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(self._check_readiness(plugin))]
                if engine is not None:
                    monitor = connection_monitor(app, engine, plugin.settings)
                    background.append(tasks.create_task(monitor.run()))
                await self._wait_until(lambda: self._must_end or self._slot.is_replaced)
                if engine is not None and not self._must_end:
                    engine.pause()
                await self._wait_until(lambda: self._must_end)
                for task in background:
                    task.cancel()
            await self._finish(engine, hooks, plugin)

    def _create_engine(self, app: Litestar, plugin: ServerPlugin) -> Engine | None:
        """Return what serves requests; None if this worker serves none."""
        if self._spec.listener is None:
            return None
        return Engine(
            app,
            socket.socket(fileno=self._received[self._spec.listener]),
            plugin.settings,
            number=self._spec.index + 1,
            # A mounted application may have WebSockets.
            uses_websockets=any(isinstance(route, (WebSocketRoute, ASGIRoute)) for route in app.routes),
        )

    async def _check_readiness(self, plugin: ServerPlugin) -> None:
        while plugin.readiness is not None:
            self._slot.is_ready = is_ready(await plugin.readiness.check())
            await asyncio.sleep(READINESS_INTERVAL_S)

    async def _finish(self, engine: Engine | None, hooks: PluginHooks, plugin: ServerPlugin) -> None:
        """Let requests and the other work finish within the grace period."""
        grace_s = plugin.settings.shutdown_grace_s
        if self._slot.is_replaced:
            grace_s = max(REPLACED_GRACE_S, grace_s)
        own = time.monotonic() + grace_s

        def remaining_s() -> float:
            # The deadline is 0 if the main process is gone or only this worker stops; it may still be set
            # later.
            return max(0.0, (self._slot.scoreboard.deadline or own) - time.monotonic())

        late = 0
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hooks.drain(remaining_s))
            if engine is not None and plugin.drain is not None:
                # First: once stopped, Granian closes WebSockets without a close frame.
                await plugin.drain.end_streams()
                engine.stop()
                late = await plugin.drain.finish(remaining_s)
        if late:
            log.warning("requests cancelled", count=late, after_s=grace_s)
        if engine is not None:
            minimum, maximum = CLOSE_CONNECTIONS_S
            await engine.wait_stopped(timeout_s=max(minimum, min(maximum, remaining_s())))


async def _connect(hooks: PluginHooks, reporter: StartupReporter) -> bool:
    """Connect and migrate, and report it to the main process; return whether it succeeded."""
    try:
        hooks.log_features(reporter.log)
        await hooks.connect_and_migrate(reporter.log, at_start=True)
    except Exception as error:  # noqa: BLE001 - the main process logs it
        reporter.fail(error)
        return False
    return True


def _run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine without closing the event loop.

    Closing it would join the threads of its executor and wait for blocking calls that never return.
    """
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(main)

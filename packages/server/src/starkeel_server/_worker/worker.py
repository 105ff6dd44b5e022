"""A worker process: makes the application, serves it, and stops when main says so."""

import asyncio
import gc
import socket
import sys
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from threading import Event
from typing import Any, NoReturn, TypeVar

import msgspec
import structlog
import uvloop
from litestar import Litestar
from starkeel_config import load

from .._app.drain import Drain
from .._app.plugin import ServerPlugin
from .._app.plugin_hooks import PluginHooks, prepare, report_features
from .._config.exit_codes import CRASH_LOOP, STOPPED, WORKER_KILLED, leave
from .._control.server import ControlServer
from .._ipc.config_snapshot import read_environ
from .._ipc.scoreboard import Phase, Scoreboard, WorkerSlot, WorkerState
from .._ipc.spawn import CommandChannel
from .._ipc.startup_channel import StartupReporter
from .._ipc.worker_process import LEAVE_GRACE_S, WorkerSpec
from .._metrics.certificate import set_expiry_metric
from .._metrics.multiprocess import name_process
from .._metrics.multiprocess import prepare as prepare_metrics
from .._process.runtime_dir import hold
from .control_setup import start_control_server
from .granian_engine import Engine, granian
from .loop_watchdog import loop_watchdog

log = structlog.get_logger(__name__)
T = TypeVar("T")

BEAT_S = 0.05
"""Seconds between two looks at the board; also between two heartbeats."""
GATE_S = 0.005
"""Seconds between two looks whether the port is open."""
PROBE_S = 1.0
"""Seconds between two rounds of readiness checks for the admin port."""
CLOSING_CONNECTIONS_S = (0.2, 2.0)
"""Seconds, at least and at most, that connections without a request in flight may take to close within what
is left of the grace: responses on their way to a slow client, but half-sent request heads, too."""


def work(ordered: CommandChannel) -> NoReturn:
    """Serve until main says stop, then end the process.

    Args:
        ordered: Brings `Orders` as JSON.
    """
    told, descriptors = ordered.spec()
    spec = msgspec.json.decode(told, type=WorkerSpec)
    sys.path[:] = spec.path
    prepare_metrics(Path(spec.metrics))
    received = dict(zip(spec.descriptors, descriptors, strict=True))
    try:
        code = _Worker(spec, received, ordered.orphaned).run()
    except Exception:
        # Before the application's own logging is set up, this goes to structlog's defaults.
        log.exception("worker failed", index=spec.index)
        code = CRASH_LOOP
    leave(code)


class _Worker:
    """The life of one worker.

    Args:
        spec: What main told it.
        received: Descriptors of this process by those that main has.
        orphaned: Set when main is gone.
    """

    def __init__(self, spec: WorkerSpec, received: Mapping[int, int], orphaned: Event) -> None:
        self._spec = spec
        self._received = received
        self._orphaned = orphaned
        scoreboard = Path(spec.scoreboard)
        hold(scoreboard.parent)
        self._slot: WorkerSlot = Scoreboard(scoreboard).slot(spec.slot)
        self._reporter = None if spec.preparation is None else StartupReporter(received[spec.preparation])

    def run(self) -> int:
        """Make the application, prepare the start if told to, and serve; the exit code."""
        # Not by its number: the one that it replaces counts on under a name of its own.
        name_process(str(self._spec.slot))
        try:
            app, hooks, desk = self._make()
        except Exception as error:  # noqa: BLE001 - told by main, or raised again
            return self._could_not_be_made(error)
        plugin = hooks.server_plugin()
        flush_until = time.monotonic() + plugin.settings.shutdown_flush_s
        code = CRASH_LOOP
        try:
            code, flush_until = _run(self._live(app, hooks, desk))
        except Exception:
            log.exception("worker failed", index=self._spec.index)
        finally:
            hooks.stop_process(timeout_s=max(0.1, flush_until - time.monotonic()))
        return code

    def _make(self) -> tuple[Litestar, PluginHooks, ControlServer]:
        service = self._spec.service
        environ = read_environ(self._spec, self._received)
        app = service.create_app(load(service.settings_class(), environ, service=service.name))
        hooks = PluginHooks(app)
        granian()
        # It was off while all this was imported.
        gc.freeze()
        gc.enable()
        hooks.server_plugin().attach(self._slot)
        hooks.start_process(role="worker", index=self._spec.index, workers=self._spec.workers)
        directory = Path(self._spec.scoreboard).parent
        desk = start_control_server(directory, self._spec.slot, app=app, hooks=hooks, environ=environ)
        return app, hooks, desk

    def _could_not_be_made(self, error: Exception) -> int:
        if self._reporter is not None:
            self._reporter.fail(error)
            return CRASH_LOOP
        # The one that prepares the start cannot be made either, and main ends everybody when it tells so.
        _run(self._until_open())
        raise error

    async def _live(self, app: Litestar, hooks: PluginHooks, desk: ControlServer) -> tuple[int, float]:
        desk.attend()
        plugin = hooks.server_plugin()
        is_prepared = self._reporter is None or await self._prepare(hooks, self._reporter)
        if is_prepared and await self._until_open():
            return await self._serve(app, plugin)
        return STOPPED, time.monotonic() + plugin.settings.shutdown_flush_s

    async def _prepare(self, hooks: PluginHooks, reporter: StartupReporter) -> bool:
        """Do what comes before the port is opened; whether it was done."""
        self._slot.state = WorkerState.PREPARING
        async with asyncio.TaskGroup() as tasks:
            preparing = tasks.create_task(_prepared(hooks, reporter))
            while not preparing.done() and not self._must_end:
                await asyncio.wait([preparing], timeout=BEAT_S)
            preparing.cancel()
        if preparing.cancelled() or not preparing.result():
            return False
        self._slot.state = WorkerState.BOOTING
        reporter.done()
        return True

    async def _until_open(self) -> bool:
        """Wait until main listens; whether it does."""
        while not self._slot.scoreboard.is_open:
            if self._must_end:
                return False
            await asyncio.sleep(GATE_S)
        return True

    @property
    def _must_end(self) -> bool:
        return self._slot.phase is Phase.STOPPING or self._orphaned.is_set()

    async def _serve(self, app: Litestar, plugin: ServerPlugin) -> tuple[int, float]:
        settings = plugin.settings
        flush_until = 0.0
        try:
            async with asyncio.timeout(None) as closing, app.lifespan():
                await self._accept_until_stopped(app, plugin)
                self._slot.state = WorkerState.CLOSING
                flush_until = time.monotonic() + settings.shutdown_flush_s
                closing.reschedule(asyncio.get_running_loop().time() + settings.shutdown_flush_s)
        except TimeoutError:
            if not flush_until:
                raise
            log.error("shutdown timed out", after_s=settings.shutdown_flush_s, index=self._spec.index)
            return WORKER_KILLED, flush_until
        return STOPPED, flush_until

    async def _accept_until_stopped(self, app: Litestar, plugin: ServerPlugin) -> None:
        listener = socket.socket(fileno=self._received[self._spec.listener])
        settings = plugin.settings if self._spec.uses_tls else None
        if settings is not None and settings.tls_cert_file is not None:
            set_expiry_metric(settings.tls_cert_file)
        engine = Engine(app, listener, settings, number=self._spec.index + 1)
        # First told, then looked: either main sees that this worker may hold connections, or this one sees
        # that main stops, and then it is killed as one that holds none.
        self._slot.state = WorkerState.OPENING
        if self._must_end:
            return
        engine.start()
        self._slot.beat()
        self._slot.state = WorkerState.UP
        with loop_watchdog(self._slot, after_s=plugin.settings.loop_stall_s):
            async with asyncio.TaskGroup() as tasks:
                beating = tasks.create_task(self._beat())
                probing = tasks.create_task(self._probe(plugin))
                await self._until_told_to_stop(engine)
                probing.cancel()
                if plugin.drain is not None:
                    await self._finish(engine, plugin.drain, plugin.settings.shutdown_grace_s)
                beating.cancel()

    async def _beat(self) -> None:
        while True:
            self._slot.beat()
            await asyncio.sleep(BEAT_S)

    async def _until_told_to_stop(self, engine: Engine) -> None:
        # Looked at rather than waited for: nothing else reaches a process as surely as shared memory does.
        while not self._must_end:
            if self._slot.is_replaced:
                engine.pause()
            await asyncio.sleep(BEAT_S)

    async def _probe(self, plugin: ServerPlugin) -> None:
        while plugin.readiness is not None:
            self._slot.is_ready = (await plugin.readiness.report()).is_ready
            await asyncio.sleep(PROBE_S)

    async def _finish(self, engine: Engine, drain: Drain, grace_s: float) -> None:
        if self._slot.is_replaced:
            grace_s = max(LEAVE_GRACE_S, grace_s)
        own = time.monotonic() + grace_s

        def left_s() -> float:
            # Main's is absent when main is gone, and while this worker alone leaves; then it may still come.
            return max(0.0, (self._slot.scoreboard.deadline or own) - time.monotonic())

        # First, as Granian, once stopped, cuts WebSockets off without a close frame.
        await drain.end_streams()
        engine.stop()
        late = await drain.finish(left_s)
        if late:
            log.warning("requests cancelled", count=late, after_s=grace_s)
        least, most = CLOSING_CONNECTIONS_S
        await engine.stopped(timeout_s=max(least, min(most, left_s())))


async def _prepared(hooks: PluginHooks, reporter: StartupReporter) -> bool:
    try:
        report_features(hooks, reporter.say)
        await prepare(hooks, reporter.say, at_start=True)
    except Exception as error:  # noqa: BLE001 - main tells it, whatever it is
        reporter.fail(error)
        return False
    return True


def _run(doing: Coroutine[Any, Any, T]) -> T:
    """Run to the end, and leave the loop as it is then.

    Closing it would join the threads of its executor, and with them a blocking call that never returns.
    """
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(doing)

"""A worker process: makes the application, serves it, and stops when main says so."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, NoReturn

import msgspec
import structlog
import uvloop
from litestar import Litestar
from starkeel_config import load

from ._board import Board, Phase, Seat, State
from ._certificate import tell_expiry
from ._desk import Desk
from ._engine import Engine
from ._exits import CRASH_LOOP, STOPPED, WORKER_KILLED, leave
from ._guard import Guard
from ._handover import received_environ
from ._hooks import Hooks
from ._metrics import name_process
from ._plugin import ServerPlugin
from ._reception import opened_desk
from ._rundir import hold
from ._stall import stalls_told
from ._workers import LEAVE_GRACE_S, Orders

log = structlog.get_logger(__name__)

BEAT_S = 0.05
"""Seconds between two looks at the board; also between two heartbeats."""
PROBE_S = 1.0
"""Seconds between two rounds of readiness checks for the admin port."""
CLOSING_CONNECTIONS_S = (0.2, 2.0)
"""Seconds, at least and at most, that connections without a request in flight may take to close within what
is left of the grace: responses on their way to a slow client, but half-sent request heads, too."""
_ORPHANED_S = 60.0
"""Seconds a worker whose main is gone may take to stop by itself; then it is ended, stuck as it is."""


def work(argument: str) -> NoReturn:
    """Serve until main says stop, then end the process.

    Args:
        argument: `Orders` as JSON.
    """
    orders = msgspec.json.decode(argument, type=Orders)
    sys.path[:] = orders.path
    orphaned = _watch_lifeline(orders.lifeline)
    try:
        code = _Worker(orders, orphaned).run()
    except Exception:
        # Before the application's own logging is set up, this goes to structlog's defaults.
        log.exception("worker failed", index=orders.index)
        code = CRASH_LOOP
    leave(code)


class _Worker:
    """The life of one worker.

    Args:
        orders: What main told it.
        orphaned: Set when main is gone.
    """

    def __init__(self, orders: Orders, orphaned: Event) -> None:
        self._orders = orders
        self._orphaned = orphaned
        board = Path(orders.board)
        hold(board.parent)
        self._seat: Seat = Board(board).seat(orders.slot)

    def run(self) -> int:
        """Make the application and serve it; the exit code."""
        # Not by its number: the one that it replaces counts on under a name of its own.
        name_process(str(self._orders.slot))
        service = self._orders.service
        environ = received_environ(self._orders.environ)
        app = service.create_app(load(service.settings_class(), environ, service=service.name))
        hooks = Hooks(app)
        plugin = hooks.server_plugin()
        plugin.attach(self._seat)
        hooks.start_process(role="worker", index=self._orders.index, workers=self._orders.workers)
        directory = Path(self._orders.board).parent
        desk = opened_desk(directory, self._orders.slot, app=app, hooks=hooks, environ=environ)
        flush_until = time.monotonic() + plugin.settings.shutdown_flush_s
        code = CRASH_LOOP
        try:
            code, flush_until = _run(self._serve(app, plugin, desk))
        except Exception:
            log.exception("worker failed", index=self._orders.index)
        finally:
            hooks.stop_process(timeout_s=max(0.1, flush_until - time.monotonic()))
        return code

    async def _serve(self, app: Litestar, plugin: ServerPlugin, desk: Desk) -> tuple[int, float]:
        desk.attend()
        settings = plugin.settings
        flush_until = 0.0
        try:
            async with asyncio.timeout(None) as closing, app.lifespan():
                await self._accept_until_stopped(app, plugin)
                self._seat.state = State.CLOSING
                flush_until = time.monotonic() + settings.shutdown_flush_s
                closing.reschedule(asyncio.get_running_loop().time() + settings.shutdown_flush_s)
        except TimeoutError:
            if not flush_until:
                raise
            log.error("shutdown timed out", after_s=settings.shutdown_flush_s, index=self._orders.index)
            return WORKER_KILLED, flush_until
        return STOPPED, flush_until

    async def _accept_until_stopped(self, app: Litestar, plugin: ServerPlugin) -> None:
        listener = socket.socket(fileno=self._orders.listener)
        settings = plugin.settings if self._orders.uses_tls else None
        if settings is not None and settings.tls_cert_file is not None:
            tell_expiry(settings.tls_cert_file)
        engine = Engine(app, listener, settings, number=self._orders.index + 1)
        engine.start()
        self._seat.beat()
        self._seat.state = State.UP
        with stalls_told(self._seat, after_s=plugin.settings.loop_stall_s):
            async with asyncio.TaskGroup() as tasks:
                beating = tasks.create_task(self._beat())
                probing = tasks.create_task(self._probe(plugin))
                await self._until_told_to_stop(engine)
                probing.cancel()
                if plugin.guard is not None:
                    await self._finish(engine, plugin.guard, plugin.settings.shutdown_grace_s)
                beating.cancel()

    async def _beat(self) -> None:
        while True:
            self._seat.beat()
            await asyncio.sleep(BEAT_S)

    async def _until_told_to_stop(self, engine: Engine) -> None:
        # Looked at rather than waited for: nothing else reaches a process as surely as shared memory does.
        while self._seat.phase is not Phase.STOPPING and not self._orphaned.is_set():
            if self._seat.is_replaced:
                engine.pause()
            await asyncio.sleep(BEAT_S)

    async def _probe(self, plugin: ServerPlugin) -> None:
        while plugin.readiness is not None:
            self._seat.is_ready = (await plugin.readiness.report()).is_ready
            await asyncio.sleep(PROBE_S)

    async def _finish(self, engine: Engine, guard: Guard, grace_s: float) -> None:
        if self._seat.is_replaced:
            grace_s = max(LEAVE_GRACE_S, grace_s)
        own = time.monotonic() + grace_s

        def left_s() -> float:
            # Main's is absent when main is gone, and while this worker alone leaves; then it may still come.
            return max(0.0, (self._seat.board.deadline or own) - time.monotonic())

        # First, as Granian, once stopped, cuts WebSockets off without a close frame.
        await guard.end_streams()
        engine.stop()
        late = await guard.finish(left_s)
        if late:
            log.warning("requests cancelled", count=late, after_s=grace_s)
        least, most = CLOSING_CONNECTIONS_S
        await engine.stopped(timeout_s=max(least, min(most, left_s())))


def _run(serving: Coroutine[Any, Any, tuple[int, float]]) -> tuple[int, float]:
    """Run to the end, and leave the loop as it is then.

    Closing it would join the threads of its executor, and with them a blocking call that never returns.
    """
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(serving)


def _watch_lifeline(descriptor: int) -> Event:
    """Notice that main is gone, and do not outlive it for long."""
    orphaned = Event()

    def wait() -> None:
        with suppress(OSError):
            os.read(descriptor, 1)
        orphaned.set()
        time.sleep(_ORPHANED_S)
        leave(WORKER_KILLED)

    Thread(target=wait, name="lifeline", daemon=True).start()
    return orphaned

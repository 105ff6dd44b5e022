"""What main does before the application's port is bound."""

import asyncio
import os
import platform
from contextlib import suppress
from threading import Event
from typing import Any

import structlog
from starkeel_config import Resolved, ServiceSettings

from ._hooks import Hooks
from ._service import Service

log = structlog.get_logger(__name__)

_ROLL_BACK_S = 1.5
"""Seconds a migration that is interrupted may take to roll back; together with flushing less than two."""


def report_start(service: Service, resolved: Resolved[ServiceSettings], hooks: Hooks) -> None:
    """Say what starts, what of it is on, and what in its configuration looks wrong."""
    log.info(
        "starting application",
        service=service.name,
        version=service.version(),
        environment=resolved.settings.environment,
        pid=os.getpid(),
        python=platform.python_version(),
    )
    features = list(hooks.features())
    on = [f"{name} ({why})" for name, is_on, why in features if is_on]
    off = [f"{name} ({why})" for name, is_on, why in features if not is_on]
    log.info("features", on=on, off=off)
    for warning in resolved.warnings:
        log.warning("configuration looks wrong", problem=warning)


class Preparation:
    """Waits for the database and migrates it, in the main thread; another thread may interrupt that."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_over = Event()

    def run(self, hooks: Hooks, *, at_start: bool) -> bool:
        """Do it; whether it was done rather than interrupted.

        Args:
            hooks: Of the application.
            at_start: Whether it is a part of the start.

        Raises:
            StartError: When the database stays away or cannot be migrated.
        """
        try:
            asyncio.run(self._prepare(hooks, at_start=at_start))
        except asyncio.CancelledError:
            return False
        finally:
            self._is_over.set()
        return True

    def cancel(self) -> None:
        """Interrupt it, when it runs, and wait until it has rolled back."""
        loop, task = self._loop, self._task
        if loop is None or task is None or self._is_over.is_set():
            return
        # The loop may close in between.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(task.cancel)
        self._is_over.wait(_ROLL_BACK_S)

    async def _prepare(self, hooks: Hooks, *, at_start: bool) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if await hooks.connect():
            log.info("database connected")
        applied = await hooks.migrate(at_start=at_start)
        if applied is not None:
            log.info("migrations complete", applied=applied)

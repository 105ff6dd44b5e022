"""Readiness checks of all plugins, run concurrently; results are cached for one second."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec
import structlog
from litestar.exceptions import ImproperlyConfiguredException

Check = Callable[[], Awaitable[object]]
"""A readiness check: an async function that raises when it fails."""

log = structlog.get_logger(__name__)

CHECK_TIMEOUT_S = 1.0
"""Seconds one check may take; a slower one has failed."""
CACHED_S = 1.0
START_S = 30.0
"""Seconds for which a check that has not passed yet is no warning: services may start together."""


class CheckResult(msgspec.Struct, frozen=True):
    """Result of one check; the reason of a failure is logged, as clients may not see it."""

    status: Literal["ok", "failed"]
    duration_ms: float
    critical: bool
    """Whether a failure makes the service not ready."""


class NamedCheck(msgspec.Struct, frozen=True):
    """A check that belongs to no plugin; its failure makes the service not ready."""

    readiness_name: str
    check_ready: Check


class Readiness:
    """Runs the checks of plugins with `readiness_name` and `check_ready`, and others by name.

    Created in the event loop.

    Raises:
        ImproperlyConfiguredException: Two checks have the same name.
    """

    def __init__(self, plugins: Iterable[Any], checks: Mapping[str, Check]) -> None:
        self._plugins = [plugin for plugin in plugins if _is_check(plugin)]
        taken = {plugin.readiness_name for plugin in self._plugins}
        if repeated := sorted(taken & checks.keys()):
            raise ImproperlyConfiguredException(
                f"a plugin has a readiness check named {repeated[0]!r} already: rename it in `checks` of"
                " ServerPlugin"
            )
        self._plugins += [NamedCheck(name, check) for name, check in checks.items()]
        self._lock = asyncio.Lock()
        self._results: dict[str, CheckResult] = {}
        self._expires_at = 0.0
        self._logged: dict[str, str] = {}
        """Level at which the failure of a check was logged; without those that pass."""
        self._passed: set[str] = set()
        self._started_at = time.monotonic()

    async def check(self) -> dict[str, CheckResult]:
        """Run all checks, or return results that are less than a second old."""
        async with self._lock:
            if time.monotonic() >= self._expires_at:
                async with asyncio.TaskGroup() as group:
                    tasks = {p.readiness_name: group.create_task(self._check(p)) for p in self._plugins}
                self._results = {name: task.result() for name, task in tasks.items()}
                self._expires_at = time.monotonic() + CACHED_S
            return self._results

    async def _check(self, plugin: Any) -> CheckResult:
        started = time.monotonic()
        failure: Exception | None = None
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await plugin.check_ready()
        except Exception as error:  # noqa: BLE001 - any error means "not ready", never a 500
            failure = error
        self._log_change(plugin.readiness_name, failure)
        return CheckResult(
            status="failed" if failure else "ok",
            duration_ms=round((time.monotonic() - started) * 1000, 3),
            critical=bool(getattr(plugin, "readiness_critical", True)),
        )

    def _log_change(self, name: str, failure: Exception | None) -> None:
        # Only changes are logged: probes run every few seconds, and an outage lasts.
        if failure is not None:
            is_starting = name not in self._passed and time.monotonic() - self._started_at < START_S
            level = "info" if is_starting else "warning"
            if self._logged.get(name) != level:
                self._logged[name] = level
                error = str(failure) or type(failure).__name__
                getattr(log, level)("readiness check failed", check=name, error=error)
        else:
            self._passed.add(name)
            if self._logged.pop(name, None):
                log.info("readiness check passed again", check=name)


def sqlalchemy_check(engine: Any) -> Check:
    """Return a readiness check that executes `SELECT 1` on a connection of a pool.

    It waits for a free connection like a request, so that an exhausted pool makes the service not ready.

    Args:
        engine: SQLAlchemy's `AsyncEngine` or `Engine`, such as `get_engine()` of advanced-alchemy's
            `SQLAlchemyAsyncConfig`. It should connect lazily, as they do by default.

    Raises:
        TypeError: It is not an engine.
    """
    # By shape: this package does not depend on SQLAlchemy.
    if not callable(getattr(engine, "connect", None)):
        raise TypeError(f"sqlalchemy_check needs an AsyncEngine or Engine, got {type(engine).__qualname__}")

    def check_sync() -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")

    running: asyncio.Future[None] | None = None

    async def check() -> None:
        nonlocal running
        if not hasattr(engine, "sync_engine"):
            # A check that has timed out still occupies its thread; the next one waits for the same result.
            if running is None or running.done():
                running = asyncio.get_running_loop().run_in_executor(None, check_sync)
            await asyncio.shield(running)
            return
        async with engine.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")

    return check


def is_ready(results: Mapping[str, CheckResult]) -> bool:
    """Return whether every critical check passed."""
    return all(result.status == "ok" for result in results.values() if result.critical)


def _is_check(plugin: Any) -> bool:
    return isinstance(getattr(plugin, "readiness_name", None), str) and hasattr(plugin, "check_ready")

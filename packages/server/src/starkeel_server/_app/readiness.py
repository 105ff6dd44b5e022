"""Readiness checks of all plugins, run concurrently; results are cached for one second."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
import structlog

log = structlog.get_logger(__name__)

CHECK_TIMEOUT_S = 1.0
"""Seconds one check may take; a slower one has failed."""
CACHED_S = 1.0


class CheckResult(msgspec.Struct, frozen=True):
    """Result of one check; the reason of a failure is logged, as clients may not see it."""

    status: Literal["ok", "failed"]
    duration_ms: float
    critical: bool
    """Whether a failure makes the service not ready."""


class Readiness:
    """Runs the checks of plugins with `readiness_name` and `check_ready`; created in the event loop."""

    def __init__(self, plugins: Iterable[Any]) -> None:
        self._plugins = [plugin for plugin in plugins if _is_check(plugin)]
        self._lock = asyncio.Lock()
        self._results: dict[str, CheckResult] = {}
        self._expires_at = 0.0
        self._failed: set[str] = set()

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
        if failure is not None and name not in self._failed:
            self._failed.add(name)
            log.warning("readiness check failed", check=name, error=str(failure) or type(failure).__name__)
        elif failure is None and name in self._failed:
            self._failed.discard(name)
            log.info("readiness check passed again", check=name)


def is_ready(results: Mapping[str, CheckResult]) -> bool:
    """Return whether every critical check passed."""
    return all(result.status == "ok" for result in results.values() if result.critical)


def _is_check(plugin: Any) -> bool:
    return isinstance(getattr(plugin, "readiness_name", None), str) and hasattr(plugin, "check_ready")

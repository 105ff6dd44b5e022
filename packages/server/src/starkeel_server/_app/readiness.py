"""Whether a worker can do its work: every plugin's check, at once, no oftener than once a second."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import structlog
from litestar import Litestar

log = structlog.get_logger(__name__)

CHECK_TIMEOUT_S = 1.0
CACHED_S = 1.0


class CheckResult(msgspec.Struct, frozen=True):
    """How one check went.

    Args:
        status: `ok` or `failed`; why is in the log, not in an answer that anyone can ask for.
        duration_ms: Milliseconds the check took.
        critical: Whether it decides.
    """

    status: Literal["ok", "failed"]
    duration_ms: float
    critical: bool


class Report(msgspec.Struct, frozen=True):
    """How all checks went."""

    checks: dict[str, CheckResult]

    @property
    def is_ready(self) -> bool:
        """Whether everything critical is fine."""
        return all(check.status == "ok" for check in self.checks.values() if check.critical)


class Readiness:
    """The readiness checks of an application's plugins.

    Args:
        plugins: Those with `readiness_name` and `check_ready` are asked.
        timeout_s: Seconds one check may take; a slower one has failed.
    """

    def __init__(self, plugins: Iterable[Any], *, timeout_s: float = CHECK_TIMEOUT_S) -> None:
        self._plugins = [plugin for plugin in plugins if _is_check(plugin)]
        self._timeout_s = timeout_s
        self._asking = asyncio.Lock()
        self._report = Report(checks={})
        self._fresh_until = 0.0
        self._failed: set[str] = set()

    @classmethod
    def of(cls, app: Litestar) -> "Readiness":
        """The checks of an application; to be called where its event loop runs."""
        return cls(app.plugins)

    async def report(self) -> Report:
        """Ask every check; who asks meanwhile, or within a second, gets the same answer."""
        async with self._asking:
            if time.monotonic() >= self._fresh_until:
                self._report = await self._ask()
                self._fresh_until = time.monotonic() + CACHED_S
            return self._report

    async def _ask(self) -> Report:
        async with asyncio.TaskGroup() as group:
            asked = {p.readiness_name: group.create_task(self._check(p)) for p in self._plugins}
        return Report(checks={name: task.result() for name, task in asked.items()})

    async def _check(self, plugin: Any) -> CheckResult:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                await plugin.check_ready()
        except Exception as error:  # noqa: BLE001 - whatever it is, it means "not ready", never a 500
            self._note_failure(plugin.readiness_name, error)
            status: Literal["ok", "failed"] = "failed"
        else:
            self._note_success(plugin.readiness_name)
            status = "ok"
        return CheckResult(
            status=status,
            duration_ms=round((time.monotonic() - began) * 1000, 3),
            critical=bool(getattr(plugin, "readiness_critical", True)),
        )

    def _note_failure(self, name: str, error: Exception) -> None:
        # Only the change is told: probes come every few seconds, and an outage lasts.
        if name not in self._failed:
            self._failed.add(name)
            log.warning("readiness check failed", check=name, error=str(error) or type(error).__name__)

    def _note_success(self, name: str) -> None:
        if name in self._failed:
            self._failed.discard(name)
            log.info("readiness check passed again", check=name)


def _is_check(plugin: Any) -> bool:
    return isinstance(getattr(plugin, "readiness_name", None), str) and hasattr(plugin, "check_ready")

"""The structural contracts between a service's plugins and its processes; every one is optional."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import structlog
from litestar import Litestar

from ._desk import Inquiry
from ._exits import CRASH_LOOP, DATABASE_AWAY, MIGRATION_FAILED, StartError
from ._plugin import ServerPlugin

log = structlog.get_logger(__name__)

Role = Literal["main", "worker"]


class Hooks:
    """What the plugins of an application want done in a process.

    Args:
        app: The application; its lifespan is not touched.
    """

    def __init__(self, app: Litestar) -> None:
        # The registry itself is a set: only what it keeps by kind has the order of the application's list.
        ordered = dict.fromkeys([*app.plugins.init, *app.plugins])
        self._plugins: list[Any] = list(ordered)

    def server_plugin(self) -> ServerPlugin:
        """The plugin that this package serves by.

        Raises:
            StartError: When the application has none.
        """
        for plugin in self._plugins:
            if isinstance(plugin, ServerPlugin):
                return plugin
        raise StartError("the application has no ServerPlugin in its list of plugins, so it cannot be served")

    def start_process(self, *, role: Role, index: int, workers: int) -> None:
        """Set the process up: logging, telemetry, this worker's share of what is shared out."""
        for plugin in self._having("start_process"):
            plugin.start_process(role=role, index=index, workers=workers)
        _quiet_fallback()

    def stop_process(self, *, timeout_s: float) -> None:
        """Flush, the last thing a process does; those listed first, as logging is, go last.

        Args:
            timeout_s: Seconds for all of them together.
        """
        until = time.monotonic() + timeout_s
        for plugin in reversed(list(self._having("stop_process"))):
            try:
                plugin.stop_process(timeout_s=max(0.1, until - time.monotonic()))
            except Exception as error:  # noqa: BLE001 - the process ends; the others must be flushed all the same
                log.warning("flushing failed", plugin=type(plugin).__name__, error=repr(error))

    async def connect(self) -> bool:
        """Wait for what the service cannot start without; whether there is such."""
        connecting = list(self._having("connect"))
        for plugin in connecting:
            await _must(plugin.connect(), otherwise=DATABASE_AWAY)
        return bool(connecting)

    async def migrate(self, *, at_start: bool) -> int | None:
        """Migrate; how many migrations were applied, none when nothing is to be migrated.

        Args:
            at_start: Whether it is a part of the start, which plugins may leave to somebody else.
        """
        counts = [
            await _must(plugin.migrate(at_start=at_start), otherwise=MIGRATION_FAILED)
            for plugin in self._having("migrate")
        ]
        applied = [count for count in counts if count is not None]
        return sum(applied) if applied else None

    async def migration_sql(self) -> str:
        """Return what `migrate` would run; empty when there is nothing to do."""
        each = [
            await _must(plugin.migration_sql(), otherwise=MIGRATION_FAILED)
            for plugin in self._having("migration_sql")
        ]
        return "".join(each)

    def revise(self, message: str) -> list[Path]:
        """Write a new migration.

        Raises:
            StartError: When no plugin can.
        """
        revising = list(self._having("revision"))
        if not revising:
            raise StartError("no plugin of the application writes migrations")
        try:
            return [path for plugin in revising for path in plugin.revision(message)]
        except Exception as error:
            raise _told(error, otherwise=CRASH_LOOP) from error

    def copy(self, verb: Literal["backup", "restore"], file: Path) -> None:
        """Copy what the service keeps to a file, or put such a copy back.

        Raises:
            StartError: When it cannot be done, or no plugin can.
        """
        copying = list(self._having(verb))
        if len(copying) != 1:
            raise StartError(f"{len(copying)} plugins of the application have a {verb}, and one is needed")
        try:
            getattr(copying[0], verb)(file)
        except Exception as error:
            raise _told(error, otherwise=CRASH_LOOP) from error

    def collectors(self) -> Iterator[Any]:
        """What main itself reports on its metrics page."""
        for plugin in self._having("collectors"):
            yield from plugin.collectors()

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """What is on, what is off, and why."""
        for plugin in self._having("features"):
            yield from plugin.features()

    def inquiries(self) -> dict[str, Inquiry]:
        """What can be asked of this process, by the name of the question."""
        return {name: of for plugin in self._having("inquiries") for name, of in plugin.inquiries().items()}

    def set_log_levels(self, levels: str) -> None:
        """Let these levels hold in this process.

        Raises:
            ValueError: They are wrong.
        """
        for plugin in self._having("set_log_levels"):
            plugin.set_log_levels(levels)

    def _having(self, name: str) -> Iterator[Any]:
        return (plugin for plugin in self._plugins if callable(getattr(plugin, name, None)))


async def _must(doing: Any, *, otherwise: int) -> Any:
    try:
        return await doing
    except Exception as error:
        raise _told(error, otherwise=otherwise) from error


def _told(error: Exception, *, otherwise: int) -> StartError:
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return StartError(str(error), code)
    # Not foreseen by the plugin: what it was is worth showing.
    return StartError(f"{type(error).__name__}: {error}", otherwise)


def _quiet_fallback() -> None:
    """Without a plugin for logging, keep structlog's defaults, but survive a reader that has gone."""
    if structlog.is_configured():
        return

    from ._fallback_log import QuietLogger

    structlog.configure(logger_factory=QuietLogger)

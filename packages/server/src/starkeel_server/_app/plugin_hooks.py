"""Hooks of an application's plugins, and the startup steps that call them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import structlog
from litestar import Litestar
from starkeel_config import misspelled_hooks

from .._compat import ordered_plugins
from .._config.exit_codes import CRASH_LOOP, DATABASE_UNAVAILABLE, MIGRATION_FAILED, StartError
from .._control.process_hooks import ProcessHooks, Role
from .plugin import ServerPlugin

log = structlog.get_logger(__name__)

Log = Callable[..., Any]
"""Logs a line, given its message and fields."""


class PluginHooks(ProcessHooks):
    """Calls the hooks of an application's plugins."""

    def __init__(self, app: Litestar) -> None:
        super().__init__(ordered_plugins(app))

    def start_process(self, *, role: Role, index: int, workers: int) -> None:
        """Set up the process, and warn about methods that are probably misspelled hooks."""
        super().start_process(role=role, index=index, workers=workers)
        if index == 0:
            for plugin in self._parts:
                for method, hook in misspelled_hooks(plugin):
                    log.warning("hook misspelled", plugin=type(plugin).__qualname__, method=method, hook=hook)

    def server_plugin(self) -> ServerPlugin:
        """Return the application's `ServerPlugin`.

        Raises:
            StartError: The application has none.
        """
        for plugin in self._parts:
            if isinstance(plugin, ServerPlugin):
                return plugin
        raise StartError("the application has no ServerPlugin in its list of plugins, so it cannot be served")

    async def connect(self) -> bool:
        """Wait for required services such as the database; return whether a plugin has any."""
        connecting = list(self.having("connect"))
        for plugin in connecting:
            await _await_hook(plugin.connect(), exit_code=DATABASE_UNAVAILABLE)
        return bool(connecting)

    async def migrate(self, *, at_start: bool) -> int | None:
        """Migrate; return the number of applied migrations, None if no plugin migrates.

        Args:
            at_start: Whether this is part of the startup, where plugins may be configured not to migrate.
        """
        counts = [
            await _await_hook(plugin.migrate(at_start=at_start), exit_code=MIGRATION_FAILED)
            for plugin in self.having("migrate")
        ]
        applied = [count for count in counts if count is not None]
        return sum(applied) if applied else None

    async def migration_sql(self) -> str:
        """Return the SQL that `migrate` would run; empty if there are no pending migrations."""
        scripts = [
            await _await_hook(plugin.migration_sql(), exit_code=MIGRATION_FAILED)
            for plugin in self.having("migration_sql")
        ]
        return "".join(scripts)

    def revise(self, message: str) -> list[Path]:
        """Write a new migration and return its files.

        Raises:
            StartError: No plugin writes migrations, or it failed.
        """
        revising = list(self.having("revision"))
        if not revising:
            raise StartError("no plugin of the application writes migrations")
        try:
            return [path for plugin in revising for path in plugin.revision(message)]
        except Exception as error:
            raise _start_error(error, exit_code=CRASH_LOOP) from error

    def copy(self, hook: Literal["backup", "restore"], file: Path) -> None:
        """Back up the service's data to a file, or restore it.

        Raises:
            StartError: It failed, or there is not exactly one plugin with that hook.
        """
        copying = list(self.having(hook))
        if len(copying) != 1:
            raise StartError(
                f"{len(copying)} plugins of the application have a `{hook}` hook; exactly one is needed"
            )
        try:
            getattr(copying[0], hook)(file)
        except Exception as error:
            raise _start_error(error, exit_code=CRASH_LOOP) from error

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Yield the features of all plugins: name, whether it is enabled, and why."""
        for plugin in self.having("features"):
            yield from plugin.features()


async def _await_hook(awaitable: Any, *, exit_code: int) -> Any:
    try:
        return await awaitable
    except Exception as error:
        raise _start_error(error, exit_code=exit_code) from error


def _start_error(error: Exception, *, exit_code: int) -> StartError:
    own_exit_code = getattr(error, "exit_code", None)
    if isinstance(own_exit_code, int):
        return StartError(str(error), own_exit_code)
    # An error the plugin did not expect: include its type.
    return StartError(f"{type(error).__name__}: {error}", exit_code)


def log_features(hooks: PluginHooks, log: Log) -> None:
    """Log the enabled and disabled features of the application, with the reasons."""
    features = list(hooks.features())
    on = [f"{name} ({reason})" for name, is_on, reason in features if is_on]
    off = [f"{name} ({reason})" for name, is_on, reason in features if not is_on]
    log("features", on=on, off=off)


async def connect_and_migrate(hooks: PluginHooks, log: Log, *, at_start: bool) -> None:
    """Wait for the database and migrate it; may be cancelled.

    Raises:
        StartError: The database is unavailable or the migration failed.
    """
    if await hooks.connect():
        log("database connected")
    applied = await hooks.migrate(at_start=at_start)
    if applied is not None:
        log("migrations complete", applied=applied)

"""The structural contracts between a service's plugins and its processes; every one is optional."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from litestar import Litestar

from .._config.exit_codes import CRASH_LOOP, DATABASE_AWAY, MIGRATION_FAILED, StartError
from .._control.process_hooks import ProcessHooks
from .plugin import ServerPlugin

Say = Callable[..., Any]
"""Says a line, given its message and fields."""


class PluginHooks(ProcessHooks):
    """What the plugins of an application want done in a process.

    Args:
        app: The application; its lifespan is not touched.
    """

    def __init__(self, app: Litestar) -> None:
        # The registry itself is a set: only what it keeps by kind has the order of the application's list.
        super().__init__(dict.fromkeys([*app.plugins.init, *app.plugins]))

    def server_plugin(self) -> ServerPlugin:
        """The plugin that this package serves by.

        Raises:
            StartError: When the application has none.
        """
        for plugin in self._parts:
            if isinstance(plugin, ServerPlugin):
                return plugin
        raise StartError("the application has no ServerPlugin in its list of plugins, so it cannot be served")

    async def connect(self) -> bool:
        """Wait for what the service cannot start without; whether there is such."""
        connecting = list(self.having("connect"))
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
            for plugin in self.having("migrate")
        ]
        applied = [count for count in counts if count is not None]
        return sum(applied) if applied else None

    async def migration_sql(self) -> str:
        """Return what `migrate` would run; empty when there is nothing to do."""
        each = [
            await _must(plugin.migration_sql(), otherwise=MIGRATION_FAILED)
            for plugin in self.having("migration_sql")
        ]
        return "".join(each)

    def revise(self, message: str) -> list[Path]:
        """Write a new migration.

        Raises:
            StartError: When no plugin can.
        """
        revising = list(self.having("revision"))
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
        copying = list(self.having(verb))
        if len(copying) != 1:
            raise StartError(f"{len(copying)} plugins of the application have a {verb}, and one is needed")
        try:
            getattr(copying[0], verb)(file)
        except Exception as error:
            raise _told(error, otherwise=CRASH_LOOP) from error

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """What is on, what is off, and why."""
        for plugin in self.having("features"):
            yield from plugin.features()


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


def report_features(hooks: PluginHooks, say: Say) -> None:
    """Say what of the application is on and what is off, and why."""
    features = list(hooks.features())
    on = [f"{name} ({why})" for name, is_on, why in features if is_on]
    off = [f"{name} ({why})" for name, is_on, why in features if not is_on]
    say("features", on=on, off=off)


async def prepare(hooks: PluginHooks, say: Say, *, at_start: bool) -> None:
    """Wait for the database and migrate it; may be cancelled.

    Args:
        hooks: Of the application.
        say: Told how far it is.
        at_start: Whether it is a part of the start.

    Raises:
        StartError: When the database stays away or cannot be migrated.
    """
    if await hooks.connect():
        say("database connected")
    applied = await hooks.migrate(at_start=at_start)
    if applied is not None:
        say("migrations complete", applied=applied)

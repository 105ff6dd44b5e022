"""Hooks of an application's plugins, and the startup steps that call them."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO

import structlog
from litestar import Litestar
from litestar.routes import ASGIRoute, HTTPRoute, WebSocketRoute
from starkeel_config import misspelled_hooks

from .._compat import ordered_plugins
from .._config.exit_codes import CRASH_LOOP, DATABASE_UNAVAILABLE, MIGRATION_FAILED, StartError
from .._control.process_hooks import ProcessHooks, Role
from .._control.server import ControlHandler
from .plugin import ServerPlugin

log = structlog.get_logger(__name__)

Log = Callable[..., Any]
"""Logs a line, given its message and fields."""


class PluginHooks(ProcessHooks):
    """Calls the hooks of an application's plugins."""

    def __init__(self, app: Litestar) -> None:
        super().__init__(ordered_plugins(app))
        self._app = app

    def start_process(self, *, role: Role, index: int, workers: int) -> None:
        """Set up the process, and warn about methods that are probably misspelled hooks."""
        super().start_process(role=role, index=index, workers=workers)
        for plugin in self.parts if index == 0 else ():
            for method, hook in misspelled_hooks(plugin):
                log.warning("hook misspelled", plugin=type(plugin).__qualname__, method=method, hook=hook)

    def inquiries(self) -> dict[str, ControlHandler]:
        """Return the control handlers of the plugins, and those of every application."""

        def set_log_levels(params: Mapping[str, str]) -> dict[str, Any]:
            self.set_log_levels(params["levels"])
            return {"levels": params["levels"]}

        own = {"routes": lambda _: {"routes": _routes(self._app)}, "set_log_levels": set_log_levels}
        return {**super().inquiries(), **own}

    def server_plugin(self) -> ServerPlugin:
        """Return the application's `ServerPlugin`.

        Raises:
            StartError: The application has none.
        """
        for plugin in self.parts:
            if isinstance(plugin, ServerPlugin):
                return plugin
        raise StartError("the application has no ServerPlugin in its list of plugins, so it cannot be served")

    def enable_work(self, is_enabled: bool) -> None:
        """Enable or disable the work of all plugins besides requests, before the application starts."""
        for plugin in self.having("enable_work"):
            plugin.enable_work(is_enabled)

    def log_features(self, log: Log) -> None:
        """Log the enabled and disabled features of all plugins, with the reasons."""
        features = [feature for plugin in self.having("features") for feature in plugin.features()]
        on = [f"{name} ({reason})" for name, is_on, reason in features if is_on]
        off = [f"{name} ({reason})" for name, is_on, reason in features if not is_on]
        log("features", on=on, off=off)

    async def connect_and_migrate(self, log: Log, *, at_start: bool) -> None:
        """Wait for required services such as the database, and migrate; may be cancelled.

        Plugins may be configured not to migrate `at_start`.

        Raises:
            StartError: The database is unavailable or the migration failed.
        """
        plugins = list(self.having("connect"))
        with _start_errors(DATABASE_UNAVAILABLE):
            for plugin in plugins:
                await plugin.connect()
        if plugins:
            log("database connected")
        with _start_errors(MIGRATION_FAILED):
            counts = [await plugin.migrate(at_start=at_start) for plugin in self.having("migrate")]
        applied = [count for count in counts if count is not None]
        if applied:
            log("migrations complete", applied=sum(applied))

    async def drain(self, remaining_s: Callable[[], float]) -> None:
        """Let all plugins finish what they do besides requests; a failure is logged."""

        async def drain(plugin: Any) -> None:
            try:
                await plugin.drain(remaining_s)
            except Exception:
                log.exception("plugin not drained", plugin=type(plugin).__name__)

        async with asyncio.TaskGroup() as tasks:
            for plugin in self.having("drain"):
                tasks.create_task(drain(plugin))

    async def migration_sql(self) -> str:
        """Return the SQL that `migrate` would run; empty if there are no pending migrations."""
        with _start_errors(MIGRATION_FAILED):
            return "".join([await plugin.migration_sql() for plugin in self.having("migration_sql")])

    def revise(self, message: str, *, is_empty: bool) -> list[Path]:
        """Write a new migration and return its files; an empty list if the models have not changed.

        Args:
            message: Description of the change.
            is_empty: Write a migration without operations instead.

        Raises:
            StartError: No plugin writes migrations, or it failed.
        """
        plugins = list(self.having("revision"))
        if not plugins:
            raise StartError("no plugin of the application writes migrations")
        with _start_errors(CRASH_LOOP):
            options = {"empty": True} if is_empty else {}
            return [path for plugin in plugins for path in plugin.revision(message, **options)]

    def copy(self, hook: Literal["backup", "restore"], file: Path) -> None:
        """Back up the service's data to a file, or restore it.

        Raises:
            StartError: It failed, or there is not exactly one plugin with that hook.
        """
        plugins = list(self.having(hook))
        if len(plugins) != 1:
            raise StartError(
                f"{len(plugins)} plugins of the application have a `{hook}` hook; exactly one is needed"
            )
        with _start_errors(CRASH_LOOP):
            getattr(plugins[0], hook)(file)

    def commands(self, built_in: Collection[str]) -> dict[str, Any]:
        """Return the plugins with a command by its name.

        Raises:
            StartError: The name of a command is taken.
        """
        found: dict[str, Any] = {}
        for plugin in self.having("run_command"):
            if plugin.command_name in built_in or plugin.command_name in found:
                kind = type(plugin).__qualname__
                raise StartError(f"the command {plugin.command_name!r} of {kind} has the name of another one")
            found[plugin.command_name] = plugin
        return found

    async def run_command(self, plugin: Any, options: Any, stdout: TextIO) -> int:
        """Run a command of a plugin within the application's lifespan; return the exit code.

        Raises:
            StartError: The database is unavailable, or the command failed.
        """
        self.enable_work(False)
        with _start_errors(DATABASE_UNAVAILABLE):
            for each in self.having("connect"):
                await each.connect()
        with _start_errors(CRASH_LOOP):
            async with self._app.lifespan():
                code: int = await plugin.run_command(options, stdout)
        return code


@contextmanager
def _start_errors(exit_code: int) -> Iterator[None]:
    """Turn exceptions into `StartError`, with the exit code of the exception if it has one."""
    try:
        yield
    except Exception as error:
        own_exit_code = getattr(error, "exit_code", None)
        if isinstance(own_exit_code, int):
            raise StartError(str(error), own_exit_code) from error
        # An error the plugin did not expect: include its type.
        raise StartError(f"{type(error).__name__}: {error}", exit_code) from error


def _routes(app: Litestar) -> list[dict[str, Any]]:
    """Return every route: path template as in metrics and spans, methods, kind and handler.

    The OPTIONS routes that Litestar adds are left out.
    """
    routes = [
        {"path": route.path_format, "methods": methods, "kind": kind, "handler": _name(handler.fn)}
        for route in app.routes
        for kind, methods, handler in _handlers(route)
        if methods != ["OPTIONS"]
    ]
    return sorted(routes, key=lambda entry: (entry["path"], entry["kind"], entry["methods"]))


def _handlers(route: HTTPRoute | WebSocketRoute | ASGIRoute) -> list[tuple[str, list[str], Any]]:
    if isinstance(route, HTTPRoute):
        return [("http", sorted(handler.http_methods), handler) for handler in route.route_handlers]
    if isinstance(route, WebSocketRoute):
        return [("websocket", ["GET"], route.route_handler)]
    return [("asgi", [], route.route_handler)]


def _name(function: Any) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{getattr(function, '__module__', '')}.{name}"

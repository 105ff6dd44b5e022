"""Commands that do one thing and exit."""

import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import structlog
from starkeel_config import ConfigurationError

from .._config.exit_codes import StartError
from .._config.service import NO_DOTENV, Service
from .command_names import BUILT_IN

log = structlog.get_logger(__name__)

_FLUSH_S = 3.0


def config(service: Service, _: Namespace) -> int:
    """Print the effective settings with secrets hidden."""
    try:
        resolved = service.resolve()
    except ConfigurationError as error:
        return _print_error(error)
    width = max(len(entry.variable) + len(entry.value) for entry in resolved.entries) + 1
    for entry in resolved.entries:
        setting = f"{entry.variable}={entry.value}"
        sys.stdout.write(f"{setting:<{width}}  # {entry.source}\n")
    for warning in resolved.warnings:
        sys.stderr.write(f"{warning}\n")
    return 0


def migrate(service: Service, options: Namespace) -> int:
    """Migrate as `serve` does, even if migrations at startup are disabled, or print the SQL."""
    if options.sql:
        with _reserved_stdout() as stdout:
            return _with_hooks(service, lambda hooks: stdout.write(asyncio.run(hooks.migration_sql())))
    return _with_hooks(
        service, lambda hooks: asyncio.run(hooks.connect_and_migrate(log.info, at_start=False))
    )


def revision(service: Service, options: Namespace) -> int:
    """Write a migration and print its path."""

    def write(hooks: Any) -> None:
        paths = hooks.revise(options.message, is_empty=options.empty)
        sys.stdout.writelines(f"{path}\n" for path in paths)
        if not paths:
            sys.stderr.write(
                "no file is written: the models do not differ from the database; `--empty` writes a migration"
                " without operations, for example for changes of data\n"
            )

    return _with_hooks(service, write)


def copy(service: Service, options: Namespace) -> int:
    """Back up the service's data to a file, or restore it."""
    return _with_hooks(service, lambda hooks: hooks.copy(options.hook, Path(options.file)))


def plugin_command(service: Service, options: Namespace) -> int:
    """Run a command of a plugin, given by the words of the command line."""
    from argparse import ArgumentParser

    code = 0

    def run(hooks: Any) -> None:
        nonlocal code
        name, *words = options.words
        plugins = hooks.commands(BUILT_IN)
        if name not in plugins:
            known = ", ".join([*BUILT_IN, *plugins])
            sys.stderr.write(f"{service.name} has no command {name!r}; there are {known}\n")
            code = 2
            return
        plugin = plugins[name]
        parser = ArgumentParser(prog=f"python -m {service.name} {name}", description=plugin.command_help)
        plugin.add_arguments(parser)
        given = parser.parse_args(words)
        with _reserved_stdout() as stdout:
            code = asyncio.run(hooks.run_command(plugin, given, stdout))

    return _with_hooks(service, run) or code


def plugin_commands(service: Service) -> list[str]:
    """Return the names of the commands of plugins, as far as the application can be created."""
    from .._app.plugin_hooks import PluginHooks

    try:
        resolved = service.resolve({"ENVIRONMENT": "development"}, dotenv=NO_DOTENV)
        return list(PluginHooks(service.create_app(resolved.settings)).commands(BUILT_IN))
    except Exception:  # noqa: BLE001 - the built-in commands must be shown whatever the service does
        return []


def openapi(service: Service, _: Namespace) -> int:
    """Print the OpenAPI document.

    It is created with development settings only, so that it needs no secret and is the same on every machine.
    """
    import msgspec
    from litestar.serialization import encode_json, get_serializer

    resolved = service.resolve({"ENVIRONMENT": "development"}, dotenv=NO_DOTENV)
    app = service.create_app(resolved.settings)
    schema = _sort_headers(app.openapi_schema.to_schema())
    document = encode_json(schema, serializer=get_serializer(app.type_encoders))
    sys.stdout.write(msgspec.json.format(document, indent=2).decode() + "\n")
    return 0


def asyncapi(service: Service, _: Namespace) -> int:
    """Print the AsyncAPI document of the plugin that has events, with settings as for `openapi`."""
    import msgspec

    from .._app.plugin_hooks import PluginHooks

    resolved = service.resolve({"ENVIRONMENT": "development"}, dotenv=NO_DOTENV)
    app = service.create_app(resolved.settings)
    plugin = next(iter(PluginHooks(app).having("asyncapi")), None)
    if plugin is None:
        sys.stderr.write(f"{service.name} has no events: no plugin has the hook `asyncapi`\n")
        return 1
    info = {"title": service.name, "version": app.openapi_schema.info.version}
    document = msgspec.json.encode({"asyncapi": "3.0.0", "info": info, **plugin.asyncapi()})
    sys.stdout.write(msgspec.json.format(document, indent=2).decode() + "\n")
    return 0


def _sort_headers(schema: Any) -> Any:
    """Sort headers by name: Litestar keeps them in a set."""
    if isinstance(schema, list):
        return [_sort_headers(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _sort_headers(dict(sorted(value.items())) if key == "headers" else value)
        for key, value in schema.items()
    }


@contextmanager
def _reserved_stdout() -> Iterator[TextIO]:
    """Yield stdout, and send everything else that is written to its descriptor, such as logs, to stderr."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as stdout:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        yield stdout


def _with_hooks(service: Service, run: Callable[[Any], object]) -> int:
    """Create the application and call `run` with its `PluginHooks`."""
    from .._app.plugin_hooks import PluginHooks

    try:
        hooks = PluginHooks(service.create_app(service.resolve().settings))
    except (ConfigurationError, StartError) as error:
        return _print_error(error)
    hooks.start_process(role="main", index=0, workers=1)
    try:
        run(hooks)
    except StartError as error:
        log.error("command failed", reason=str(error))
        return error.exit_code
    finally:
        hooks.stop_process(timeout_s=_FLUSH_S)
    return 0


def _print_error(error: ConfigurationError | StartError) -> int:
    sys.stderr.write(f"{error}\n")
    return error.exit_code

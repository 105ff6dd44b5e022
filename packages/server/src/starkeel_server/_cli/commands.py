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
    return _with_hooks(
        service, lambda hooks: sys.stdout.writelines(f"{path}\n" for path in hooks.revise(options.message))
    )


def copy(service: Service, options: Namespace) -> int:
    """Back up the service's data to a file, or restore it."""
    return _with_hooks(service, lambda hooks: hooks.copy(options.hook, Path(options.file)))


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

"""The verbs that do one thing and end."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import structlog
from starkeel_config import ConfigurationError, load, resolve

from .._config.exit_codes import StartError
from .._config.service import ENVIRON, Service

log = structlog.get_logger(__name__)

_FLUSH_S = 3.0
_NO_DOTENV = Path("/nonexistent/.env")


def config(service: Service) -> int:
    """Print the effective settings, secrets hidden."""
    try:
        resolved = resolve(service.settings_class(), ENVIRON, service=service.name)
    except ConfigurationError as error:
        return _refused(error)
    width = max(len(entry.variable) + len(entry.value) for entry in resolved.entries) + 1
    for entry in resolved.entries:
        setting = f"{entry.variable}={entry.value}"
        sys.stdout.write(f"{setting:<{width}}  # {entry.source}\n")
    for warning in resolved.warnings:
        sys.stderr.write(f"{warning}\n")
    return 0


def migrate(service: Service) -> int:
    """Migrate as `serve` does before it listens, whatever is said about migrations at the start."""
    from .._app.plugin_hooks import PluginHooks, prepare

    def do(hooks: PluginHooks) -> None:
        asyncio.run(prepare(hooks, log.info, at_start=False))

    return _with_hooks(service, do)


def migration_sql(service: Service) -> int:
    """Print the SQL of what is not applied yet."""
    from .._app.plugin_hooks import PluginHooks

    def do(hooks: PluginHooks) -> None:
        sys.stdout.write(asyncio.run(hooks.migration_sql()))

    return _with_hooks(service, do)


def revision(service: Service, message: str) -> int:
    """Write a migration and print its path."""
    from .._app.plugin_hooks import PluginHooks

    def do(hooks: PluginHooks) -> None:
        for path in hooks.revise(message):
            sys.stdout.write(f"{path}\n")

    return _with_hooks(service, do)


def copy(service: Service, verb: Literal["backup", "restore"], file: Path) -> int:
    """Copy what the service keeps to a file, or put such a copy back."""
    from .._app.plugin_hooks import PluginHooks

    def do(hooks: PluginHooks) -> None:
        hooks.copy(verb, file)

    return _with_hooks(service, do)


def openapi(service: Service) -> int:
    """Print the OpenAPI document.

    It is made of the settings of development and nothing else, so that it needs no secret and is the same on
    every machine.
    """
    from litestar.serialization import encode_json, get_serializer

    environ = {"ENVIRONMENT": "development"}
    app = service.create_app(load(service.settings_class(), environ, service=service.name, dotenv=_NO_DOTENV))
    schema = _in_order(app.openapi_schema.to_schema())
    document = encode_json(schema, serializer=get_serializer(app.type_encoders))
    sys.stdout.write(_indented(document))
    return 0


def _in_order(schema: Any) -> Any:
    """Put headers in the order of their names: Litestar keeps them in a set."""
    if isinstance(schema, list):
        return [_in_order(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _in_order(dict(sorted(value.items())) if key == "headers" else value)
        for key, value in schema.items()
    }


def _indented(document: bytes) -> str:
    import msgspec

    return msgspec.json.format(document, indent=2).decode() + "\n"


def _with_hooks(service: Service, do: Callable[..., None]) -> int:
    from .._app.plugin_hooks import PluginHooks

    try:
        app = service.create_app(load(service.settings_class(), ENVIRON, service=service.name))
    except ConfigurationError as error:
        return _refused(error)
    hooks = PluginHooks(app)
    hooks.start_process(role="main", index=0, workers=1)
    try:
        do(hooks)
    except StartError as error:
        log.error("could not be done", reason=str(error))
        return error.exit_code
    finally:
        hooks.stop_process(timeout_s=_FLUSH_S)
    return 0


def _refused(error: ConfigurationError) -> int:
    sys.stderr.write(f"{error}\n")
    return error.exit_code

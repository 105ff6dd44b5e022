"""Runs a Litestar service on Granian: start, health, admin port, graceful stop.

Names are imported when they are first used: `python -m SERVICE health`, which probes run every few seconds,
must not pay for a framework it does not need.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._app.asgi import application
    from ._app.plugin import ServerPlugin
    from ._cli.parser import run
    from ._config.service import Service
    from ._config.settings import ServerSettings

__all__ = ["ServerPlugin", "ServerSettings", "Service", "application", "run"]

_HOMES = {
    "ServerPlugin": "_app.plugin",
    "ServerSettings": "_config.settings",
    "Service": "_config.service",
    "application": "_app.asgi",
    "run": "_cli.parser",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value

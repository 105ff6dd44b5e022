"""Runs a Litestar service on Granian: start, health, admin port, graceful stop.

Names are imported when they are first used: `python -m SERVICE health`, which probes run every few seconds,
must not pay for a framework it does not need.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._application import application
    from ._cli import run
    from ._plugin import ServerPlugin
    from ._service import Service
    from ._settings import ServerSettings

__all__ = ["ServerPlugin", "ServerSettings", "Service", "application", "run"]

_HOMES = {
    "ServerPlugin": "_plugin",
    "ServerSettings": "_settings",
    "Service": "_service",
    "application": "_application",
    "run": "_cli",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value

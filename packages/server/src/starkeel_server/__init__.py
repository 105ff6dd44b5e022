"""Run a Litestar service on Granian: startup, health checks, admin port, graceful shutdown.

Names are imported on first use: probes run `python -m SERVICE health` every few seconds, and it needs no
framework.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._app.asgi import application
    from ._app.build import build
    from ._app.plugin import ServerPlugin
    from ._cli.parser import run
    from ._config.service import Service
    from ._config.settings import ServerSettings

__all__ = ["ServerPlugin", "ServerSettings", "Service", "application", "build", "run"]

_MODULES = {
    "ServerPlugin": "_app.plugin",
    "ServerSettings": "_config.settings",
    "Service": "_config.service",
    "application": "_app.asgi",
    "build": "_app.build",
    "run": "_cli.parser",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value

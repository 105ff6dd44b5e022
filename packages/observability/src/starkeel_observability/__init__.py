"""Logs, metrics and traces of a Litestar service, in one pass per request.

Names are imported on first use: settings are read before `prometheus_client` may be imported, which at import
decides whether values are shared between processes.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._config.log_levels import LogLevels
    from ._metrics.api import counter, gauge, histogram
    from ._plugin import ObservabilityPlugin
    from ._settings import ObservabilitySettings

__all__ = ["LogLevels", "ObservabilityPlugin", "ObservabilitySettings", "counter", "gauge", "histogram"]

_MODULES = {
    "LogLevels": "_config.log_levels",
    "ObservabilityPlugin": "_plugin",
    "ObservabilitySettings": "_settings",
    "counter": "_metrics.api",
    "gauge": "_metrics.api",
    "histogram": "_metrics.api",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value

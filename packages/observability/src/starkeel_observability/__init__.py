"""Logs, metrics and traces of a Litestar service, in one pass per request.

Names are imported when they are first used: settings are read before `prometheus_client` may be imported, as
that decides at its import whether it shares values between processes.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._config.log_levels import LogLevels
    from ._metrics.api import counter, gauge, histogram
    from ._plugin import ObservabilityPlugin
    from ._settings import ObservabilitySettings

__all__ = ["LogLevels", "ObservabilityPlugin", "ObservabilitySettings", "counter", "gauge", "histogram"]

_HOMES = {
    "LogLevels": "_config.log_levels",
    "ObservabilityPlugin": "_plugin",
    "ObservabilitySettings": "_settings",
    "counter": "_metrics.api",
    "gauge": "_metrics.api",
    "histogram": "_metrics.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value

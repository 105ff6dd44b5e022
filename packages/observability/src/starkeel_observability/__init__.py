"""Logs, metrics and traces of a Litestar service, in one pass per request.

Names are imported on first use: settings are read before `prometheus_client` may be imported, which at import
decides whether values are shared between processes.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._config.log_levels import LogLevels
    from ._logs.sink import pretty_line
    from ._metrics.api import counter, gauge, histogram
    from ._plugin import ObservabilityPlugin
    from ._request.request import quiet_access_log
    from ._settings import ObservabilitySettings
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_config.log_levels": ["LogLevels"],
            "_logs.sink": ["pretty_line"],
            "_metrics.api": ["counter", "gauge", "histogram", "quiet_access_log"],
            "_plugin": ["ObservabilityPlugin"],
            "_request.request": ["quiet_access_log"],
            "_settings": ["ObservabilitySettings"],
        },
    )

__all__ = [
    "LogLevels",
    "ObservabilityPlugin",
    "ObservabilitySettings",
    "counter",
    "gauge",
    "histogram",
    "pretty_line",
    "quiet_access_log",
]

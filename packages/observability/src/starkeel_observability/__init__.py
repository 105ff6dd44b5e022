"""Logs, metrics and traces of a Litestar service, in one pass per request.

Names are imported on first use: settings are read before `prometheus_client` may be imported, which at import
decides whether values are shared between processes.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._config.log_levels import LogLevels
    from ._metrics.api import counter, gauge, histogram
    from ._plugin import ObservabilityPlugin
    from ._settings import ObservabilitySettings
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_config.log_levels": ["LogLevels"],
            "_metrics.api": ["counter", "gauge", "histogram"],
            "_plugin": ["ObservabilityPlugin"],
            "_settings": ["ObservabilitySettings"],
        },
    )

__all__ = ["LogLevels", "ObservabilityPlugin", "ObservabilitySettings", "counter", "gauge", "histogram"]

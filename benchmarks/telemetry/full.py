"""The same handler with the whole of telemetry, on the same server."""

import atexit
import os

from bare import item
from litestar import Litestar
from starkeel_config import ServiceSettings, load
from starkeel_observability import ObservabilityPlugin, ObservabilitySettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Telemetry alone."""

    observability: ObservabilitySettings


_settings = load(Settings, os.environ, service="bench")
_plugin = ObservabilityPlugin(_settings.observability)
app = Litestar([item], openapi_config=None, plugins=[_plugin])
_plugin.start_process(role="worker", index=0, workers=1)
atexit.register(_plugin.stop_process, timeout_s=10)

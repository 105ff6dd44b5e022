"""The handler with Starkeel's telemetry alone, on the same server as the bare one."""

import atexit
import os

from litestar import Litestar
from litestar_bare import item
from starkeel_config import ServiceSettings, load
from starkeel_observability import ObservabilityPlugin, ObservabilitySettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    observability: ObservabilitySettings


_settings = load(Settings, os.environ, service="bench")
_plugin = ObservabilityPlugin(_settings.observability)
app = Litestar([item], openapi_config=None, plugins=[_plugin])
_plugin.start_process(role="worker", index=0, workers=1)
atexit.register(_plugin.stop_process, timeout_s=10)

from starkeel_config import ServiceSettings
from starkeel_http import HttpSettings
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings


class SampleSettings(ServiceSettings, frozen=True, kw_only=True):
    """The sample."""

    server: ServerSettings
    http: HttpSettings
    observability: ObservabilitySettings

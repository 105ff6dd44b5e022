"""Settings from the environment."""

from starkeel_config import ServiceSettings
from starkeel_observability import ObservabilitySettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    observability: ObservabilitySettings

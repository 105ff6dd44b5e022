from typing import Annotated

from starkeel_config import ServiceSettings, Variable
from starkeel_http import HttpSettings, Rate
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings


class SampleSettings(ServiceSettings, frozen=True, kw_only=True):
    """The sample."""

    server: ServerSettings
    http: HttpSettings
    observability: ObservabilitySettings
    rate_limit_sample: Annotated[Rate, Variable("RATE_LIMIT_SAMPLE")] = Rate.parse("1/hour")
    """Rate of the limited route."""

from typing import Annotated

from starkeel_config import ServiceSettings, Variable
from starkeel_http import EdgeSettings, Rate
from starkeel_server import ServerSettings


class SampleSettings(ServiceSettings, frozen=True, kw_only=True):
    """The sample."""

    server: ServerSettings
    http: EdgeSettings
    rate: Annotated[Rate, Variable("RATE_LIMIT_SAMPLE")] = Rate.parse("3/hour")
    """How often."""

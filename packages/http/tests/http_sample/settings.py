import sys
from typing import Annotated, Any

import structlog
from starkeel_config import ServiceSettings, Settings, Variable
from starkeel_http import EdgeSettings, Rate
from starkeel_server import ServerSettings


class Lines(Settings, frozen=True, kw_only=True):
    """Lines of JSON, as telemetry would write them."""

    def main_process(self) -> "Lines":
        return self

    def start_process(self, **_: Any) -> None:
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        )


class SampleSettings(ServiceSettings, frozen=True, kw_only=True):
    """The sample."""

    lines: Lines
    server: ServerSettings
    http: EdgeSettings
    rate: Annotated[Rate, Variable("RATE_LIMIT_SAMPLE")] = Rate.parse("3/hour")
    """How often."""

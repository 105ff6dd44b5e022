import sys
from typing import Annotated, Any

import structlog
from starkeel_config import ServiceSettings, Settings, Variable
from starkeel_http import HttpSettings, Rate
from starkeel_server import ServerSettings


class JsonLogging(Settings, frozen=True, kw_only=True):
    """Logs as JSON lines, as telemetry does."""

    def main_process(self) -> "JsonLogging":
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
    """Settings of the sample."""

    logging: JsonLogging
    server: ServerSettings
    http: HttpSettings
    rate: Annotated[Rate, Variable("RATE_LIMIT_SAMPLE")] = Rate.parse("3/hour")
    """Rate of both limits."""

"""Litestar's own logging, handed to structlog."""

from typing import Any

import structlog
from litestar.logging.config import BaseLoggingConfig, LoggingConfig


class StructlogConfig(BaseLoggingConfig):
    """Gives `app.logger` and `request.logger`; sets nothing up, as that is done once for the process."""

    def __init__(self) -> None:
        self.log_exceptions = "never"
        self.traceback_line_limit = -1
        self.exception_logging_handler = None
        self.disable_stack_trace = set()

    def configure(self) -> Any:
        """As Litestar asks for it."""
        return _logger

    @staticmethod
    def set_level(logger: Any, level: int) -> None:
        """Nothing: levels are the environment's."""
        del logger, level


def _logger(name: str | None = None) -> Any:
    return structlog.get_logger(name or "litestar")


def is_default(config: object) -> bool:
    """Whether an application left logging to Litestar."""
    if type(config) is not LoggingConfig:
        return False
    default = LoggingConfig()
    # Made anew for every configuration.
    default.exception_logging_handler = config.exception_logging_handler
    return config == default

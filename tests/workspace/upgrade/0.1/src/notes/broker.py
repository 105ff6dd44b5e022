"""A broker that logs events, and is unavailable for the first of them."""

import structlog
from starkeel_db import BrokerAwayError, Event

log = structlog.get_logger(__name__)


class LogBroker:
    """Logs every event."""

    def __init__(self) -> None:
        self._is_away = True

    async def publish(self, event: Event) -> None:
        """Log an event; fail once."""
        if self._is_away:
            self._is_away = False
            raise BrokerAwayError("not yet")
        log.info("event published", kind=event.kind, text=event.payload, trace=event.traceparent)

    async def close(self) -> None:
        """Close nothing."""

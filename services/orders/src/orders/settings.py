"""Settings of orders."""

from typing import Annotated

from msgspec import Meta
from starkeel_auth import AuthSettings
from starkeel_client import UpstreamSettings, upstream
from starkeel_config import ServiceSettings, Variable
from starkeel_db import DatabaseSettings
from starkeel_http import HttpSettings, Rate
from starkeel_jobs import JobSettings
from starkeel_mail import MailSettings
from starkeel_messaging import MessagingSettings
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Orders and their live events. `/api/orders/live` sends the events over WebSocket."""

    observability: ObservabilitySettings
    server: ServerSettings
    http: HttpSettings
    database: DatabaseSettings
    auth: AuthSettings
    messaging: MessagingSettings
    jobs: JobSettings
    mail: MailSettings
    accounts: UpstreamSettings = upstream("ACCOUNTS")
    outbox_retention_hours: Annotated[int, Variable("OUTBOX_RETENTION_HOURS"), Meta(ge=1, le=720)] = 24
    """Hours for which events are kept for clients that reconnect with `Last-Event-ID`."""
    idempotency_key_hours: Annotated[int, Variable("IDEMPOTENCY_KEY_HOURS"), Meta(ge=1, le=720)] = 24
    """Hours for which a repeated `Idempotency-Key` returns the response to the first request."""
    rate_limit_order_creation: Annotated[Rate, Variable("RATE_LIMIT_ORDER_CREATION")] = Rate.parse(
        "60/minute"
    )
    """Maximum rate of new orders per user."""
    rate_limit_order_reading: Annotated[Rate, Variable("RATE_LIMIT_ORDER_READING")] = Rate.parse("600/minute")
    """Maximum rate of reads, event streams and WebSockets per user."""
    rate_limit_order_changes: Annotated[Rate, Variable("RATE_LIMIT_ORDER_CHANGES")] = Rate.parse("120/minute")
    """Maximum rate of changes and cancellations per user."""

"""Settings of depot."""

from typing import Annotated

from msgspec import Meta
from starkeel_auth import AuthSettings
from starkeel_client import UpstreamSettings, upstream
from starkeel_config import ServiceSettings, Variable
from starkeel_db import DatabaseSettings
from starkeel_http import HttpSettings, Rate
from starkeel_messaging import MessagingSettings
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Crates of each user."""

    observability: ObservabilitySettings
    server: ServerSettings
    http: HttpSettings
    # template if database
    database: DatabaseSettings
    # template end
    auth: AuthSettings
    # template if broker
    messaging: MessagingSettings
    # template end
    # template each call
    accounts: UpstreamSettings = upstream("ACCOUNTS")
    # template end
    # template if database
    outbox_retention_hours: Annotated[int, Variable("OUTBOX_RETENTION_HOURS"), Meta(ge=1, le=720)] = 24
    """Hours for which events are kept for clients that reconnect with `Last-Event-ID`."""
    idempotency_key_hours: Annotated[int, Variable("IDEMPOTENCY_KEY_HOURS"), Meta(ge=1, le=720)] = 24
    """Hours for which a repeated `Idempotency-Key` returns the response to the first request."""
    rate_limit_depot_creation: Annotated[Rate, Variable("RATE_LIMIT_DEPOT_CREATION")] = Rate.parse(
        "60/minute"
    )
    """Maximum rate of new crates per user."""
    rate_limit_depot_changes: Annotated[Rate, Variable("RATE_LIMIT_DEPOT_CHANGES")] = Rate.parse("120/minute")
    """Maximum rate of changes and deletions per user."""
    # template end
    rate_limit_depot_reading: Annotated[Rate, Variable("RATE_LIMIT_DEPOT_READING")] = Rate.parse("600/minute")
    """Maximum rate of reads per user."""

"""Settings of notes."""

from typing import Annotated

from starkeel_auth import IssuerSettings
from starkeel_config import Secret, ServiceSettings, Variable
from starkeel_db import DatabaseSettings
from starkeel_http import EdgeSettings, Rate
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Notes and their events."""

    observability: ObservabilitySettings
    server: ServerSettings
    http: EdgeSettings
    database: DatabaseSettings
    auth: IssuerSettings
    jwt_private_key: Annotated[Secret | None, Variable("JWT_PRIVATE_KEY")] = None
    """Key that signs the tokens; a new one by default."""
    rate_limit_notes: Annotated[Rate, Variable("RATE_LIMIT_NOTES")] = Rate.parse("60/minute")
    """Maximum rate of new notes per user."""

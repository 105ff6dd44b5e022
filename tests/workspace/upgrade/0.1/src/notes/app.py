"""Application of notes."""

from datetime import timedelta

from advanced_alchemy.base import orm_registry
from litestar import Litestar
from starkeel_auth import AuthPlugin, SigningKeys, generate_private_key_pem
from starkeel_db import DatabasePlugin, IdempotencyKeys, Outbox
from starkeel_http import EdgePlugin
from starkeel_observability import ObservabilityPlugin
from starkeel_server import ServerPlugin

from .broker import LogBroker
from .notes import add, events
from .settings import Settings


def create_app(settings: Settings) -> Litestar:
    """Create the application."""
    metadata = orm_registry.metadata
    key = settings.jwt_private_key
    keys = SigningKeys.from_pem(generate_private_key_pem() if key is None else key.reveal())
    database = DatabasePlugin(settings.database, metadata=metadata, migrations="notes.migrations")
    return Litestar(
        route_handlers=[add, events],
        plugins=[
            ObservabilityPlugin(settings.observability),
            ServerPlugin(settings.server),
            EdgePlugin(settings.http, limits={"notes": settings.rate_limit_notes}),
            database,
            IdempotencyKeys(database, metadata=metadata, lifetime=timedelta(hours=24)),
            AuthPlugin(settings.auth, keys),
            Outbox(database, metadata=metadata, retention=timedelta(hours=24), broker=LogBroker()),
        ],
    )

"""Application factory of orders."""

from datetime import timedelta

from advanced_alchemy.base import orm_registry
from litestar import Litestar
from starkeel_auth import AuthPlugin
from starkeel_client import ClientPlugin
from starkeel_db import DatabasePlugin, IdempotencyKeys, Outbox
from starkeel_http import EdgePlugin, openapi
from starkeel_observability import ObservabilityPlugin
from starkeel_server import ServerPlugin

from .live_updates import events, live
from .orders_api import OrderController
from .redis_stream import RedisStream
from .settings import Settings


def create_app(settings: Settings) -> Litestar:
    """Create the application; it opens no connections before it is started."""
    metadata = orm_registry.metadata
    database = DatabasePlugin(settings.database, metadata=metadata, migrations="orders.migrations")
    retention = timedelta(hours=settings.outbox_retention_hours)
    broker = RedisStream(settings.redis_url) if settings.redis_url is not None else None
    lifetime = timedelta(hours=settings.idempotency_key_hours)
    return Litestar(
        route_handlers=[OrderController, events, live],
        openapi_config=openapi(
            "orders", "Orders and their live events. `/api/orders/live` sends the events over WebSocket."
        ),
        plugins=[
            ObservabilityPlugin(settings.observability),
            ServerPlugin(settings.server),
            EdgePlugin(settings.http, limits={"order_creation": settings.rate_limit_order_creation}),
            database,
            IdempotencyKeys(database, metadata=metadata, lifetime=lifetime),
            AuthPlugin.verifier(settings.auth),
            ClientPlugin(accounts=settings.accounts),
            Outbox(database, metadata=metadata, retention=retention, broker=broker),
        ],
    )

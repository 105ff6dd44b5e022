"""Application factory of orders."""

from datetime import timedelta

from litestar import Litestar
from starkeel_db import IdempotencyPlugin, OutboxPlugin
from starkeel_server import build

from . import SERVICE
from .live_updates import events, live
from .orders_api import OrderController
from .settings import Settings


def create_app(settings: Settings) -> Litestar:
    """Create the application; it opens no connections before it is started."""
    broker = None
    if settings.redis_url is not None:
        # Importing the client takes a tenth of the start.
        from .redis_stream import RedisStream

        broker = RedisStream(settings.redis_url)
    return build(
        SERVICE,
        settings,
        handlers=[OrderController, events, live],
        plugins=[
            IdempotencyPlugin(lifetime=timedelta(hours=settings.idempotency_key_hours)),
            OutboxPlugin(retention=timedelta(hours=settings.outbox_retention_hours), broker=broker),
        ],
        # Entered before the lifespans of plugins, such as that of the relay, and left after them.
        lifespan=[] if broker is None else [broker.running],
    )

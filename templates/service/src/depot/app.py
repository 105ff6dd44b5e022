"""Application factory of depot."""

from datetime import timedelta

from litestar import Litestar
from starkeel_db import IdempotencyPlugin, OutboxPlugin
from starkeel_messaging import MessagingPlugin
from starkeel_server import build

from . import SERVICE
from .crate_events import events
from .crate_previews import preview
from .crates_api import CrateController
from .published_events import PUBLISHED
from .settings import Settings


def create_app(settings: Settings) -> Litestar:
    """Create the application; it opens no connections before it is started."""
    return build(
        SERVICE,
        settings,
        handlers=[
            # template if database
            CrateController,
            events,
            # template end
            # template if not database
            preview,
            # template end
        ],
        # template if database
        plugins=[
            IdempotencyPlugin(lifetime=timedelta(hours=settings.idempotency_key_hours)),
            OutboxPlugin(retention=timedelta(hours=settings.outbox_retention_hours)),
            # template if broker
            MessagingPlugin(settings.messaging, service=SERVICE.name, publishes=PUBLISHED),
            # template end
        ],
        # template end
    )

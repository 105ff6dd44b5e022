"""Application factory of orders."""

from datetime import timedelta

from litestar import Litestar
from litestar.di import Provide
from starkeel_db import IdempotencyPlugin, OutboxPlugin
from starkeel_jobs import JobsPlugin
from starkeel_messaging import MessagingPlugin
from starkeel_server import build

from . import SERVICE
from .confirmations import ConfirmationMail, send_order_confirmation
from .live_updates import events, live
from .order_events import PUBLISHED
from .orders_api import OrderController
from .settings import Settings
from .user_events import cancel_open_orders


def create_app(settings: Settings) -> Litestar:
    """Create the application; it opens no connections before it is started."""
    messaging = MessagingPlugin(
        settings.messaging, service=SERVICE.name, publishes=PUBLISHED, handlers=[cancel_open_orders]
    )
    confirmation_mail = ConfirmationMail(settings.mail)
    return build(
        SERVICE,
        settings,
        handlers=[OrderController, events, live],
        plugins=[
            IdempotencyPlugin(lifetime=timedelta(hours=settings.idempotency_key_hours)),
            OutboxPlugin(retention=timedelta(hours=settings.outbox_retention_hours)),
            JobsPlugin(
                settings.jobs, jobs=[send_order_confirmation], resources=[messaging, confirmation_mail]
            ),
            messaging,
        ],
        dependencies={"confirmation_mail": Provide(lambda: confirmation_mail, sync_to_thread=False)},
    )

"""Events of orders: outbox entries, log lines and metrics."""

import time

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import OutboxPlugin, after_commit
from starkeel_observability import counter, histogram

from .orders import Order
from .schemas import EventType, view

log = structlog.get_logger(__name__)

_LOG_MESSAGES: dict[EventType, str] = {
    "order.created": "order created",
    "order.changed": "order changed",
    "order.cancelled": "order cancelled",
}
_MAX_PRODUCTS = 100
_OTHER = "__other__"
_ORDERS_CREATED = counter("orders_created_total", "Orders created.", labels=("product",))
_ORDER_CREATION = histogram(
    "order_creation_duration_seconds", "Time from the accepted request to the committed order."
)

_products: set[str] = set()


class OrderEvents:
    """Records the events of one request; a rollback discards them."""

    def __init__(self, session: AsyncSession, outbox: OutboxPlugin) -> None:
        self._session = session
        self._outbox = outbox
        self._started = time.perf_counter()

    async def record(self, event_type: EventType, order: Order) -> None:
        """Add an event to the outbox, and log and count it after the commit."""
        user_id, body = str(order.user_id), view(order)

        def report() -> None:
            if event_type == "order.created":
                _ORDERS_CREATED.labels(product=_product_label(body.product_type)).inc()
                _ORDER_CREATION.observe(time.perf_counter() - self._started)
            log.info(
                _LOG_MESSAGES[event_type],
                order_id=str(body.id),
                user_id=user_id,
                product_type=body.product_type,
                quantity=body.quantity,
            )

        after_commit(self._session, report)
        payload = msgspec.json.encode(body).decode()
        await self._outbox.add(self._session, key=user_id, kind=event_type, payload=payload)


def _product_label(product_type: str) -> str:
    """Return the label value of a product: its name for the first hundred in this process, then `__other__`.

    Products are free text, and every label value is a time series for the lifetime of the process.
    """
    if product_type not in _products:
        if len(_products) >= _MAX_PRODUCTS:
            return _OTHER
        _products.add(product_type)
    return product_type

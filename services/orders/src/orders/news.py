"""What the log, the metrics and those who listen are told of an order, once it is committed."""

import time

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import Outbox, after_commit

from .events import Kind
from .messages import view
from .metrics import ORDER_CREATION, ORDERS_CREATED, product_label
from .orders import Order

log = structlog.get_logger(__name__)

_MESSAGES: dict[Kind, str] = {
    "order.created": "order created",
    "order.changed": "order changed",
    "order.cancelled": "order cancelled",
}


class News:
    """The news of one request; one that is rolled back makes none."""

    def __init__(self, session: AsyncSession, outbox: Outbox) -> None:
        self._session = session
        self._outbox = outbox
        self._started = time.perf_counter()

    async def created(self, order: Order) -> None:
        """Tell of a new order."""
        product = product_label(order.product_type)

        def count() -> None:
            ORDERS_CREATED.labels(product=product).inc()
            ORDER_CREATION.observe(time.perf_counter() - self._started)

        after_commit(self._session, count)
        await self._tell("order.created", order)

    async def changed(self, order: Order) -> None:
        """Tell of another quantity."""
        await self._tell("order.changed", order)

    async def cancelled(self, order: Order) -> None:
        """Tell of a cancelled order."""
        await self._tell("order.cancelled", order)

    async def _tell(self, kind: Kind, order: Order) -> None:
        user_id, seen = order.user_id, view(order)

        def report() -> None:
            log.info(
                _MESSAGES[kind],
                order_id=str(seen.id),
                user_id=str(user_id),
                product_type=seen.product_type,
                quantity=seen.quantity,
            )

        after_commit(self._session, report)
        payload = msgspec.json.encode(seen).decode()
        await self._outbox.add(self._session, key=str(user_id), kind=kind, payload=payload)

"""Orders: table, operations, and the events, log lines and metrics of each change."""

import time
from collections.abc import Sequence, Set
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from advanced_alchemy.base import UUIDv7AuditBase
from litestar.exceptions import ClientException, NotFoundException
from sqlalchemy import CheckConstraint, ColumnElement, Index, String, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from starkeel_db import after_commit
from starkeel_messaging import EventType, MessagingPlugin
from starkeel_observability import counter, histogram

from .order_events import ORDER_CANCELLED, ORDER_CHANGED, ORDER_CREATED
from .pagination import PageCursor
from .schemas import MAX_QUANTITY, OrderView, Status

log = structlog.get_logger(__name__)

_CHANGED = "The order has changed since it was read. Read it again."
_MAX_PRODUCTS = 100
_ORDERS_CREATED = counter("orders_created_total", "Orders created.", labels=("product",))
_ORDER_CREATION = histogram(
    "order_creation_duration_seconds", "Time from the accepted request to the committed order."
)

_products: set[str] = set()


class Order(UUIDv7AuditBase):
    """An order of one product by one user."""

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint(f"quantity BETWEEN 1 AND {MAX_QUANTITY}", name="quantity"),
        CheckConstraint("status IN ('open', 'cancelled')", name="status"),
        Index("ix_orders_user_id_created_at_id", "user_id", "created_at", "id"),
    )

    user_id: Mapped[UUID]
    product_type: Mapped[str] = mapped_column(String(64))
    quantity: Mapped[int]
    status: Mapped[Status] = mapped_column(String(16), default="open")
    version: Mapped[int] = mapped_column(default=1)
    email: Mapped[str | None] = mapped_column(String(254))
    """Confirmed address of the user when it placed the order, for the confirmation; of no response."""


class Orders:
    """Operations on the orders of one user within one unit of work, which includes their events.

    With an id they raise `NotFoundException` if the order does not exist or belongs to another user.
    """

    def __init__(self, session: AsyncSession, messaging: MessagingPlugin, user_id: UUID) -> None:
        self._session = session
        self._messaging = messaging
        self._user_id = user_id
        self._started = time.perf_counter()

    async def place(self, *, product_type: str, quantity: int, email: str | None = None) -> Order:
        """Create an open order.

        Args:
            product_type: The product.
            quantity: Its quantity.
            email: Address for the confirmation, if there is to be one.
        """
        order = Order(user_id=self._user_id, product_type=product_type, quantity=quantity, email=email)
        self._session.add(order)
        await self._session.flush()

        def count() -> None:
            _ORDERS_CREATED.labels(product=_product_label(product_type)).inc()
            _ORDER_CREATION.observe(time.perf_counter() - self._started)

        after_commit(self._session, count)
        await self._record(ORDER_CREATED, order, message="order created")
        return order

    async def get(self, order_id: UUID) -> Order:
        """Return an order."""
        order = await self._session.scalar(select(Order).where(*self._matches(order_id)))
        if order is None:
            raise NotFoundException("Order not found.")
        return order

    async def page(self, *, after: PageCursor | None, limit: int) -> Sequence[Order]:
        """Return at most `limit` orders after a position, newest first."""
        newest_first = (Order.created_at.desc(), Order.id.desc())
        query = select(Order).where(Order.user_id == self._user_id).order_by(*newest_first).limit(limit)
        if after is not None:
            query = query.where(tuple_(Order.created_at, Order.id) < (after.created_at, after.id))
        return (await self._session.scalars(query)).all()

    async def change_quantity(self, order_id: UUID, *, quantity: int, versions: Set[int] | None) -> Order:
        """Change the quantity of an open order that has one of the versions, or any if they are `None`.

        Raises:
            ClientException: 409, the order is cancelled; 412, it has another version.
        """
        unchanged = () if versions is None else (Order.version.in_(versions),)
        order = await self._update_open(order_id, *unchanged, quantity=quantity)
        if order is not None:
            await self._record(ORDER_CHANGED, order, message="order changed")
            return order
        found = await self.get(order_id)
        if found.status != "open":
            raise ClientException(f"The order is {found.status} and cannot be changed.", status_code=409)
        raise ClientException(_CHANGED, status_code=412)

    async def cancel(self, order_id: UUID, *, versions: Set[int] | None = None) -> Order:
        """Cancel an order that has one of the versions, or any if they are `None`; idempotent.

        Raises:
            ClientException: 412, it has another version, and is not the cancelled order after one of them.
        """
        unchanged = () if versions is None else (Order.version.in_(versions),)
        order = await self._update_open(order_id, *unchanged, status="cancelled")
        if order is None:
            found = await self.get(order_id)
            # A client that repeats the request has the version before.
            is_known = versions is None or not versions.isdisjoint({found.version, found.version - 1})
            if found.status == "open" or not is_known:
                raise ClientException(_CHANGED, status_code=412)
            return found
        await self._record(ORDER_CANCELLED, order, message="order cancelled")
        return order

    async def cancel_all(self) -> int:
        """Cancel the open orders of the user, and return their number."""
        is_open = (Order.user_id == self._user_id, Order.status == "open")
        cancelled = (
            update(Order)
            .where(*is_open)
            .values(version=Order.version + 1, updated_at=datetime.now(UTC), status="cancelled")
            .returning(Order)
            .execution_options(synchronize_session=False)
        )
        orders = sorted((await self._session.scalars(cancelled)).all(), key=lambda order: order.id)
        for order in orders:
            await self._record(ORDER_CANCELLED, order, message="order cancelled")
        return len(orders)

    async def _update_open(
        self, order_id: UUID, *conditions: ColumnElement[bool], **values: Any
    ) -> Order | None:
        # A single statement checks and changes the order, so of concurrent changes only one succeeds.
        return await self._session.scalar(
            update(Order)
            .where(*self._matches(order_id), Order.status == "open", *conditions)
            .values(version=Order.version + 1, updated_at=datetime.now(UTC), **values)
            .returning(Order)
            .execution_options(synchronize_session=False)
        )

    def _matches(self, order_id: UUID) -> tuple[ColumnElement[bool], ...]:
        return Order.id == order_id, Order.user_id == self._user_id

    async def _record(self, event_type: EventType[OrderView], order: Order, *, message: str) -> None:
        """Publish an event, and log it after the commit."""
        body, user_id = view(order), str(order.user_id)

        def report() -> None:
            log.info(
                message,
                order_id=str(body.id),
                user_id=user_id,
                product_type=body.product_type,
                quantity=body.quantity,
            )

        after_commit(self._session, report)
        await self._messaging.publish(self._session, event_type, body, key=user_id)


def view(order: Order) -> OrderView:
    """Return an order as responses and events contain it."""
    return OrderView(
        id=order.id,
        product_type=order.product_type,
        quantity=order.quantity,
        status=order.status,
        created_at=order.created_at,
        updated_at=order.updated_at,
    )


def _product_label(product_type: str) -> str:
    """Return the label value of a product: its name for the first hundred in this process, then `__other__`.

    Products are free text, and every label value is a time series for the lifetime of the process.
    """
    if product_type not in _products:
        if len(_products) >= _MAX_PRODUCTS:
            return "__other__"
        _products.add(product_type)
    return product_type

"""Orders: table and operations."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from advanced_alchemy.base import UUIDv7AuditBase
from litestar.exceptions import ClientException, NotFoundException
from sqlalchemy import CheckConstraint, ColumnElement, Index, String, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from .etags import Versions
from .pagination import PageCursor

Status = Literal["open", "cancelled"]

MAX_QUANTITY = 1_000_000


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


class Orders:
    """Operations on the orders of one user within one unit of work."""

    def __init__(self, session: AsyncSession, user_id: UUID) -> None:
        self._session = session
        self._user_id = user_id

    async def place(self, *, product_type: str, quantity: int) -> Order:
        """Create an open order."""
        order = Order(user_id=self._user_id, product_type=product_type, quantity=quantity)
        self._session.add(order)
        await self._session.flush()
        return order

    async def get(self, order_id: UUID) -> Order:
        """Return an order.

        Raises:
            NotFoundException: The order does not exist or belongs to another user.
        """
        order = await self._session.scalar(select(Order).where(*self._matches(order_id)))
        if order is None:
            raise NotFoundException("Order not found.")
        return order

    async def page(self, *, after: PageCursor | None, limit: int) -> Sequence[Order]:
        """Return orders, newest first.

        Args:
            after: Last order of the previous page; `None` for the first page.
            limit: Maximum number of orders.
        """
        newest_first = (Order.created_at.desc(), Order.id.desc())
        query = select(Order).where(Order.user_id == self._user_id).order_by(*newest_first).limit(limit)
        if after is not None:
            query = query.where(tuple_(Order.created_at, Order.id) < (after.created_at, after.id))
        return (await self._session.scalars(query)).all()

    async def change_quantity(self, order_id: UUID, *, quantity: int, expected: Versions) -> Order:
        """Change the quantity of an open order.

        Raises:
            NotFoundException: The order does not exist or belongs to another user.
            ClientException: 409, the order is cancelled; 412, it is not one of the expected versions.
        """
        unchanged = () if expected.is_any else (Order.version.in_(expected.numbers),)
        order = await self._update_open(order_id, *unchanged, quantity=quantity)
        if order is not None:
            return order
        found = await self.get(order_id)
        if found.status != "open":
            raise ClientException(f"The order is {found.status} and cannot be changed.", status_code=409)
        raise ClientException("The order has changed since it was read. Read it again.", status_code=412)

    async def cancel(self, order_id: UUID) -> tuple[Order, bool]:
        """Cancel an order; idempotent.

        Returns:
            The order, and whether this call cancelled it.

        Raises:
            NotFoundException: The order does not exist or belongs to another user.
        """
        order = await self._update_open(order_id, status="cancelled")
        if order is not None:
            return order, True
        return await self.get(order_id), False

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

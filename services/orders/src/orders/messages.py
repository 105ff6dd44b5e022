"""What orders reads and writes."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from .orders import MAX_QUANTITY, Order, Status

ProductType = Annotated[
    str,
    Meta(
        # Python's `$` lets a line feed follow; JSON Schema knows no other end (ECMA-262 has no `\Z`).
        pattern=r"^[a-z0-9-]{1,64}$(?!\n)",
        description="1 to 64 of `a` to `z`, `0` to `9` and `-`.",
        examples=["oak-plank"],
    ),
]
Quantity = Annotated[int, Meta(ge=1, le=MAX_QUANTITY, examples=[12])]


class Placement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody wants to order."""

    product_type: ProductType
    quantity: Quantity


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be changed of an open order."""

    quantity: Annotated[Quantity, Meta(examples=[24])]


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order, as its owner sees it."""

    id: Annotated[UUID, Meta(examples=["019aaf40-2f2b-7a3e-9e55-3a0f7b1d9c10"])]
    product_type: Annotated[str, Meta(examples=["oak-plank"])]
    quantity: Annotated[int, Meta(examples=[12])]
    status: Annotated[Status, Meta(examples=["open"])]
    created_at: Annotated[datetime, Meta(examples=["2026-01-31T12:00:00Z"])]
    updated_at: Annotated[datetime, Meta(examples=["2026-01-31T12:00:00Z"])]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of a user's orders, the newest first."""

    items: list[OrderView]
    next_cursor: Annotated[
        str | None, Meta(description="`cursor` of the next page; null on the last.", examples=[None])
    ]


def view(order: Order) -> OrderView:
    """Return what its owner may see of an order."""
    return OrderView(
        id=order.id,
        product_type=order.product_type,
        quantity=order.quantity,
        status=order.status,
        created_at=order.created_at,
        updated_at=order.updated_at,
    )

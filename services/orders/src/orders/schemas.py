"""Request and response bodies, and events."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

MAX_QUANTITY = 1_000_000
EXAMPLE_ID = "019aaf40-2f2b-7a3e-9e55-3a0f7b1d9c10"
EXAMPLE_CURSOR = "AAZJrdRJMAABmq9ALyt6Pp5VOg97HZwQ"

Status = Literal["open", "cancelled"]
EventType = Literal["order.created", "order.changed", "order.cancelled"]
ProductType = Annotated[
    str,
    Meta(
        # Python's `$` also matches before a final line feed, and JSON Schema (ECMA-262) has no `\Z`.
        pattern=r"^[a-z0-9-]{1,64}$(?!\n)",
        description="1 to 64 of the characters `a` to `z`, `0` to `9` and `-`.",
        examples=["oak-plank"],
    ),
]
Quantity = Annotated[int, Meta(ge=1, le=MAX_QUANTITY, examples=[12])]


class Placement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new order."""

    product_type: ProductType
    quantity: Quantity


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change of an open order."""

    quantity: Annotated[Quantity, Meta(examples=[24])]


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order."""

    id: Annotated[UUID, Meta(examples=[EXAMPLE_ID])]
    product_type: Annotated[str, Meta(examples=["oak-plank"])]
    quantity: Annotated[int, Meta(examples=[12])]
    status: Annotated[Status, Meta(examples=["open"])]
    created_at: Annotated[datetime, Meta(examples=["2026-01-31T12:00:00Z"])]
    updated_at: Annotated[datetime, Meta(examples=["2026-01-31T12:00:00Z"])]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of orders, newest first."""

    items: list[OrderView]
    next_cursor: Annotated[
        str | None,
        Meta(description="`cursor` of the next page; null on the last page.", examples=[EXAMPLE_CURSOR]),
    ]


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of an order."""

    id: Annotated[str, Meta(description="Opaque value for `Last-Event-ID`.")]
    type: EventType
    order: OrderView


class EventGap(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="gap"):
    """Events after `last_event_id` may be deleted: a client must read the orders again."""

    id: Annotated[str, Meta(description="Opaque value for `Last-Event-ID`.")]
    last_event_id: str

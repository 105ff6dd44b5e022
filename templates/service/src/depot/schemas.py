"""Request and response bodies, and events."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

MAX_QUANTITY = 1_000_000
# template if database
EXAMPLE_ID = "019aaf40-2f2b-7a3e-9e55-3a0f7b1d9c10"
EXAMPLE_CURSOR = "AAZJrdRJMAABmq9ALyt6Pp5VOg97HZwQ"

EventType = Literal["crate.created", "crate.changed", "crate.deleted"]
# template end
CrateName = Annotated[
    str,
    Meta(
        # Python's `$` also matches before a final line feed, and JSON Schema (ECMA-262) has no `\Z`.
        pattern=r"^[a-z0-9-]{1,64}$(?!\n)",
        description="1 to 64 of the characters `a` to `z`, `0` to `9` and `-`.",
        examples=["oak-plank"],
    ),
]
Quantity = Annotated[int, Meta(ge=0, le=MAX_QUANTITY, examples=[12])]


class CrateCreation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new crate."""

    name: CrateName
    quantity: Quantity


# template if database
class CrateChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change of a crate."""

    quantity: Annotated[Quantity, Meta(examples=[24])]


class CrateView(msgspec.Struct, frozen=True, kw_only=True):
    """A crate."""

    id: Annotated[UUID, Meta(examples=[EXAMPLE_ID])]
    name: Annotated[str, Meta(examples=["oak-plank"])]
    quantity: Annotated[int, Meta(examples=[12])]
    created_at: Annotated[datetime, Meta(examples=["2026-01-31T12:00:00Z"])]
    updated_at: Annotated[datetime, Meta(examples=["2026-01-31T12:00:00Z"])]


class CratePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of crates, newest first."""

    items: list[CrateView]
    next_cursor: Annotated[
        str | None,
        Meta(description="`cursor` of the next page; null on the last page.", examples=[EXAMPLE_CURSOR]),
    ]


# template end
# template if not database
class CratePreview(msgspec.Struct, frozen=True, kw_only=True):
    """A crate as it would be stored."""

    name: Annotated[str, Meta(examples=["oak-plank"])]
    quantity: Annotated[int, Meta(examples=[12])]
    is_empty: Annotated[bool, Meta(examples=[False])]


# template end

"""What happens to orders, told to their owners while they listen."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal, cast
from uuid import UUID

import anyio
import msgspec
from msgspec import Meta
from starkeel_db import Event, Follower, Outbox

from .messages import OrderView

Kind = Literal["order.created", "order.changed", "order.cancelled"]

_MOST_DIGITS: Final = 18


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to an order."""

    id: Annotated[str, Meta(description="Opaque; handed back as `Last-Event-ID`.")]
    type: Kind
    order: OrderView


_decoder = msgspec.json.Decoder(OrderView)


class Feed:
    """The events of one user: first those missed, then each as it happens.

    Args:
        follower: Of the user's events.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    async def events(self, *, heartbeat_s: float, until: float) -> AsyncGenerator[OrderEvent | None]:
        """Yield events until there is a reason to come anew.

        Args:
            heartbeat_s: Seconds without an event after which None is yielded instead.
            until: When the listener's leave ends, in seconds since 1970.
        """
        while (remaining_s := until - time.time()) > 0:
            event: OrderEvent | None = None
            with anyio.move_on_after(min(heartbeat_s, remaining_s)):
                event = _told(await self._follower.next())
            yield event


@asynccontextmanager
async def following(outbox: Outbox, user_id: UUID, *, last_event_id: str | None) -> AsyncGenerator[Feed]:
    """Listen to a user's events.

    Args:
        outbox: Where they are.
        user_id: Whose.
        last_event_id: What the client saw last: everything after it comes first. If it is none of ours,
            everything that is remembered does.

    Raises:
        DatabaseUnavailable: The events cannot be read.
    """
    async with outbox.following(str(user_id), after=_position(last_event_id)) as follower:
        yield Feed(follower)


def _told(event: Event) -> OrderEvent:
    order = _decoder.decode(event.payload)
    return OrderEvent(id=str(event.position), type=cast("Kind", event.kind), order=order)


def _position(last_event_id: str | None) -> int | None:
    if last_event_id is None:
        return None
    is_ours = last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= _MOST_DIGITS
    return int(last_event_id) if is_ours else 0

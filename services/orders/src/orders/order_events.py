"""Types of the events that this service publishes."""

from typing import Final

from starkeel_messaging import EventType

from .schemas import OrderView

ORDER_CREATED: Final = EventType("order.created", OrderView)
ORDER_CHANGED: Final = EventType("order.changed", OrderView)
ORDER_CANCELLED: Final = EventType("order.cancelled", OrderView)
PUBLISHED: Final = (ORDER_CREATED, ORDER_CHANGED, ORDER_CANCELLED)

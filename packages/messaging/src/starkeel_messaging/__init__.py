"""Events between Litestar services: published from an outbox, handled once as jobs.

Names are imported on first use: the main process of a service reads settings without SQLAlchemy and Litestar.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._events import EventContext, EventHandler, EventType, on_event
    from ._plugin import MessagingPlugin
    from ._settings import MessagingSettings
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_events": ["EventContext", "EventHandler", "EventType", "on_event"],
            "_plugin": ["MessagingPlugin"],
            "_settings": ["MessagingSettings"],
        },
    )

__all__ = [
    "EventContext",
    "EventHandler",
    "EventType",
    "MessagingPlugin",
    "MessagingSettings",
    "on_event",
]

"""Events of accounts that this service handles."""

from typing import Final
from uuid import UUID

import msgspec
from starkeel_messaging import EventContext, EventType, MessagingPlugin, on_event

from .orders import Orders


class UserDeactivated(msgspec.Struct, frozen=True, kw_only=True):
    """The user of accounts that has been deactivated."""

    user_id: UUID


USER_DEACTIVATED: Final = EventType("user.deactivated", UserDeactivated)


@on_event("accounts", USER_DEACTIVATED)
async def cancel_open_orders(context: EventContext, user: UserDeactivated) -> None:
    """Cancel the open orders of a user that has been deactivated."""
    await Orders(context.session, context.resource(MessagingPlugin), user.user_id).cancel_all()

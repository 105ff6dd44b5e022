"""Events about users, which other services may consume. They have no personal data."""

from uuid import UUID

import msgspec
from starkeel_messaging import EventType


class UserCreated(msgspec.Struct, frozen=True):
    """A user has registered."""

    user_id: UUID


class UserDeactivated(msgspec.Struct, frozen=True):
    """A user has been deactivated: their tokens are no longer accepted, and no more are issued."""

    user_id: UUID


USER_CREATED = EventType("user.created", UserCreated)
USER_DEACTIVATED = EventType("user.deactivated", UserDeactivated)
PUBLISHED = (USER_CREATED, USER_DEACTIVATED)

"""Types of the events that other services receive."""

from typing import Final, get_args

from starkeel_messaging import EventType

from . import schemas

PUBLISHED: Final = tuple(EventType(name, schemas.CrateView) for name in get_args(schemas.EventType))

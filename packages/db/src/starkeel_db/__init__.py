"""Database of a Litestar service: pool, migrations, unit of work, readiness."""

from ._after_commit import after_commit
from ._errors import (
    DatabaseAwayError,
    DatabaseError,
    DatabaseUnavailable,
    MigrationError,
    NewerDatabaseError,
    NotADatabaseError,
    SchemaBehindError,
)
from ._followers import Follower
from ._idempotency import IdempotencyKeys
from ._outbox import Outbox
from ._outbox_table import Event
from ._plugin import DatabasePlugin
from ._relay import Broker, BrokerAwayError
from ._repeats import repeat_conflicts
from ._session import UnitOfWorkIsOverError
from ._settings import DatabaseSettings

__all__ = [
    "Broker",
    "BrokerAwayError",
    "DatabaseAwayError",
    "DatabaseError",
    "DatabasePlugin",
    "DatabaseSettings",
    "DatabaseUnavailable",
    "Event",
    "Follower",
    "IdempotencyKeys",
    "MigrationError",
    "NewerDatabaseError",
    "NotADatabaseError",
    "Outbox",
    "SchemaBehindError",
    "UnitOfWorkIsOverError",
    "after_commit",
    "repeat_conflicts",
]

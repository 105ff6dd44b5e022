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
from ._idempotency import IdempotencyKeys
from ._plugin import DatabasePlugin
from ._session import UnitOfWorkIsOverError
from ._settings import DatabaseSettings

__all__ = [
    "DatabaseAwayError",
    "DatabaseError",
    "DatabasePlugin",
    "DatabaseSettings",
    "DatabaseUnavailable",
    "IdempotencyKeys",
    "MigrationError",
    "NewerDatabaseError",
    "NotADatabaseError",
    "SchemaBehindError",
    "UnitOfWorkIsOverError",
    "after_commit",
]

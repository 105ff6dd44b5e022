"""Database of a Litestar service: pool, migrations, unit of work, readiness.

Names are imported when they are first used: the main process of a service reads settings, and needs neither
SQLAlchemy nor Litestar for it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "Broker": "_relay",
    "BrokerAwayError": "_relay",
    "DatabaseAwayError": "_errors",
    "DatabaseError": "_errors",
    "DatabasePlugin": "_plugin",
    "DatabaseSettings": "_settings",
    "DatabaseUnavailable": "_errors",
    "Event": "_outbox_table",
    "Follower": "_followers",
    "IdempotencyKeys": "_idempotency",
    "MigrationError": "_errors",
    "NewerDatabaseError": "_errors",
    "NotADatabaseError": "_errors",
    "Outbox": "_outbox",
    "SchemaBehindError": "_errors",
    "UnitOfWorkIsOverError": "_session",
    "after_commit": "_after_commit",
    "repeat_conflicts": "_repeats",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value

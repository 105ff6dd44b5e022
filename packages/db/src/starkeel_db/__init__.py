"""Database of a Litestar service: pool, migrations, unit of work, readiness.

Names are imported lazily: the main process of a service reads settings without SQLAlchemy and Litestar.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._base.errors import (
        DatabaseAwayError,
        DatabaseError,
        DatabaseUnavailable,
        MigrationError,
        NewerDatabaseError,
        NotADatabaseError,
        ReadOnlySessionError,
        SchemaBehindError,
    )
    from ._base.settings import DatabaseSettings
    from ._idempotency.plugin import IdempotencyKeys
    from ._outbox.plugin import Outbox
    from ._outbox.relay import Broker, BrokerAwayError
    from ._outbox.subscriptions import Follower, Subscription
    from ._outbox.table import Event
    from ._plugin import DatabasePlugin
    from ._session.conflict_retry import repeat_conflicts
    from ._session.session import UnitOfWorkIsOverError, after_commit, read_only

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
    "ReadOnlySessionError",
    "SchemaBehindError",
    "Subscription",
    "UnitOfWorkIsOverError",
    "after_commit",
    "read_only",
    "repeat_conflicts",
]

_HOMES = {
    "Broker": "_outbox.relay",
    "BrokerAwayError": "_outbox.relay",
    "DatabaseAwayError": "_base.errors",
    "DatabaseError": "_base.errors",
    "DatabasePlugin": "_plugin",
    "DatabaseSettings": "_base.settings",
    "DatabaseUnavailable": "_base.errors",
    "Event": "_outbox.table",
    "Follower": "_outbox.subscriptions",
    "IdempotencyKeys": "_idempotency.plugin",
    "MigrationError": "_base.errors",
    "NewerDatabaseError": "_base.errors",
    "NotADatabaseError": "_base.errors",
    "Outbox": "_outbox.plugin",
    "ReadOnlySessionError": "_base.errors",
    "SchemaBehindError": "_base.errors",
    "Subscription": "_outbox.subscriptions",
    "UnitOfWorkIsOverError": "_session.session",
    "after_commit": "_session.session",
    "read_only": "_session.session",
    "repeat_conflicts": "_session.conflict_retry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value

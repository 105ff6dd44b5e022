"""Database of a Litestar service: pool, migrations, unit of work, readiness.

Names are imported lazily: the main process of a service reads settings without SQLAlchemy and Litestar.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._base.errors import (
        CommitRefusedError,
        DatabaseError,
        DatabaseUnavailable,
        DatabaseUnreachableError,
        MigrationError,
        NewerDatabaseError,
        NotADatabaseError,
        ReadOnlySessionError,
        SchemaBehindError,
    )
    from ._base.settings import DatabaseSettings
    from ._driver.last_statement import LastStatement, send_with_commit
    from ._idempotency import IdempotencyPlugin
    from ._outbox.plugin import OutboxPlugin
    from ._outbox.publishing import Broker, BrokerUnavailableError
    from ._outbox.subscription import Subscription
    from ._outbox.writer import GAP, Event
    from ._plugin import DatabasePlugin, database_of
    from ._retention import delete_batch, deleting
    from ._session.conflict_retry import repeat_conflicts
    from ._session.lazy import LazySession
    from ._session.unit_of_work import UnitOfWorkIsOverError, after_commit, read_only
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_base.errors": [
                "CommitRefusedError",
                "DatabaseUnreachableError",
                "DatabaseError",
                "DatabaseUnavailable",
                "MigrationError",
                "NewerDatabaseError",
                "NotADatabaseError",
                "ReadOnlySessionError",
                "SchemaBehindError",
            ],
            "_base.settings": ["DatabaseSettings"],
            "_driver.last_statement": ["LastStatement", "send_with_commit"],
            "_idempotency": ["IdempotencyPlugin"],
            "_outbox.plugin": ["OutboxPlugin"],
            "_outbox.publishing": ["Broker", "BrokerUnavailableError"],
            "_outbox.subscription": ["Subscription"],
            "_outbox.writer": ["GAP", "Event"],
            "_plugin": ["DatabasePlugin", "database_of"],
            "_retention": ["delete_batch", "deleting"],
            "_session.conflict_retry": ["repeat_conflicts"],
            "_session.lazy": ["LazySession"],
            "_session.unit_of_work": ["UnitOfWorkIsOverError", "after_commit", "read_only"],
        },
        renamed={
            "BrokerAwayError": "BrokerUnavailableError",
            "DatabaseAwayError": "DatabaseUnreachableError",
            "Follower": "Subscription",
            "IdempotencyKeys": "IdempotencyPlugin",
            "Outbox": "OutboxPlugin",
        },
    )

__all__ = [
    "GAP",
    "Broker",
    "BrokerUnavailableError",
    "CommitRefusedError",
    "DatabaseError",
    "DatabasePlugin",
    "DatabaseSettings",
    "DatabaseUnavailable",
    "DatabaseUnreachableError",
    "Event",
    "IdempotencyPlugin",
    "LastStatement",
    "LazySession",
    "MigrationError",
    "NewerDatabaseError",
    "NotADatabaseError",
    "OutboxPlugin",
    "ReadOnlySessionError",
    "SchemaBehindError",
    "Subscription",
    "UnitOfWorkIsOverError",
    "after_commit",
    "database_of",
    "delete_batch",
    "deleting",
    "read_only",
    "repeat_conflicts",
    "send_with_commit",
]

"""Pool, migrations, outbox, jobs and the slowest statements."""

from itertools import islice
from typing import Any, Final

import msgspec

from .._sources.services import Migrations, Services
from .._store.store import Store

_MAX_STATEMENTS: Final = 50
_FIGURES: Final[tuple[tuple[str, str, dict[str, str]], ...]] = (
    ("connections in use", "db_client_connection_count", {"state": "used"}),
    ("idle connections", "db_client_connection_count", {"state": "idle"}),
    ("most connections", "db_client_connection_max", {}),
    ("requests that wait for a connection", "db_client_connection_pending_requests", {}),
    ("requests that timed out waiting", "db_client_connection_timeouts_total", {}),
    ("events not yet published", "outbox_pending", {}),
    ("age of the oldest of them (s)", "outbox_oldest_pending_seconds", {}),
    ("events published", "outbox_published_total", {}),
    ("dead letters", "outbox_dead_letters", {}),
    ("failed attempts to publish", "outbox_failures_total", {}),
    ("events not yet received", "consumer_lag", {}),
    ("jobs due", "jobs_due", {}),
    ("jobs running", "jobs_running", {}),
    ("jobs failed", "jobs_failed", {}),
)
_ALARMS: Final = frozenset(
    ("requests that timed out waiting", "dead letters", "jobs failed", "requests that wait for a connection")
)


class DatabaseView(msgspec.Struct):
    """Database, outbox and jobs of a service."""

    name: str
    figures: list[tuple[str, float, bool]]
    """Name and value, and whether the value is a problem."""
    migrations: Migrations | None


def database_page(store: Store, services: Services, service: str) -> dict[str, Any]:
    """Return the values of the page.

    Args:
        store: Where metrics and spans are kept.
        services: Services with their migrations.
        service: Name of the service; empty for all.
    """
    names = dict.fromkeys([*(each.name for each in services), *sorted(store.signs)])
    views = []
    for name in names:
        found = services.get(name)
        figures = [
            (title, value, title in _ALARMS and value > 0)
            for title, metric, labels in _FIGURES
            if (value := store.metrics.value(name, metric, **labels)) is not None
        ]
        migrations = found.migrations if found else None
        if service in {"", name} and (figures or migrations):
            views.append(DatabaseView(name, figures, migrations))
    return {
        "views": views,
        "statements": list(islice(store.requests.statements(service), _MAX_STATEMENTS)),
        "service": service,
        "store": store,
    }

"""Dashboard of the databases, measured by the services."""

from .dashboard import Dashboard
from .panels import Panel
from .queries import Query, gauge, rate, selected

_POOL = [
    Panel(
        "Connections",
        "Open connections of all workers, in use and idle, and their maximum.",
        [
            gauge("db_client_connection_count", "service, instance, state"),
            gauge("db_client_connection_max", "service, instance", "{{service}} {{instance}} max"),
        ],
    ),
    Panel(
        "In use",
        "Share of the connections that are in use. At 1, requests wait for a connection.",
        [Query(selected("instance:db_connections:used_ratio"), "{{service}} {{instance}}")],
        unit="percentunit",
        limits=(0.8, 0.9),
    ),
    Panel(
        "Waiting requests",
        "Requests that wait for a connection.",
        [gauge("db_client_connection_pending_requests", "service, instance")],
    ),
    Panel(
        "Timeouts",
        "Requests that got no connection within DB_ACQUIRE_TIMEOUT_SECONDS; their status is 503.",
        [rate("db_client_connection_timeouts_total", "service, instance")],
        unit="reqps",
        width=6,
    ),
    Panel(
        "Responses with 503",
        "Requests that failed because the database or another dependency was unavailable.",
        [rate('http_requests_total{status="503", path!~"/health/.*"}', "service, path")],
        unit="reqps",
        width=6,
    ),
    Panel(
        "Pending migrations",
        "Migrations that are not applied, at the last check. The replica is not ready until they are.",
        [gauge("db_migrations_pending", "service, instance", function="max")],
        limits=(1, 1),
        width=6,
    ),
    Panel(
        "Newer schema",
        "1 where newer code has migrated the database: during a rollout, and after a rollback.",
        [gauge("db_schema_newer", "service, instance", function="max")],
        width=6,
    ),
]

_OUTBOX = [
    Panel(
        "Pending events",
        "Events that are committed and not published. Every replica counts the same rows.",
        [gauge("outbox_pending", "service", function="max")],
    ),
    Panel(
        "Age of the oldest event",
        "Age of the oldest pending event: how late subscribers receive events.",
        [gauge("outbox_oldest_pending_seconds", "service", function="max")],
        unit="s",
        limits=(10, 60),
    ),
    Panel(
        "Dead letters",
        "Events that the broker refused ten times. They are not retried automatically.",
        [gauge("outbox_dead_letters", "service", function="max")],
        limits=(1, 1),
    ),
    Panel(
        "Published",
        "Events that the broker accepted.",
        [rate("outbox_published_total", "service")],
        unit="ops",
        width=12,
    ),
    Panel(
        "Failed",
        "Failed attempts. `away`: the broker was unreachable; `refused`: it refused the event.",
        [rate("outbox_failures_total", "service, reason")],
        unit="ops",
        width=12,
    ),
]

DATABASE = Dashboard(
    "starkeel-database",
    "Starkeel: database",
    "Connection pools, pending migrations, and the outbox.",
    {"Pool": _POOL, "Outbox": _OUTBOX},
)

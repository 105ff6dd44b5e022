"""Dashboard of the databases, measured by the services."""

from .parts import SELECTED, Dashboard, Panel, Query, Row

_POOL = Row(
    "Pool",
    [
        Panel(
            "Connections",
            "Open connections of all workers, in use and idle, and their maximum.",
            [
                Query(
                    f"sum by (service, instance, state) (db_client_connection_count{{{SELECTED}}})",
                    "{{service}} {{instance}} {{state}}",
                ),
                Query(
                    f"sum by (service, instance) (db_client_connection_max{{{SELECTED}}})",
                    "{{service}} {{instance}} max",
                ),
            ],
        ),
        Panel(
            "In use",
            "Share of the connections that are in use. At 1, requests wait for a connection.",
            [Query(f"instance:db_connections:used_ratio{{{SELECTED}}}", "{{service}} {{instance}}")],
            unit="percentunit",
            limits=(0.8, 0.9),
        ),
        Panel(
            "Waiting requests",
            "Requests that wait for a connection.",
            [
                Query(
                    f"sum by (service, instance) (db_client_connection_pending_requests{{{SELECTED}}})",
                    "{{service}} {{instance}}",
                )
            ],
        ),
        Panel(
            "Timeouts",
            "Requests that got no connection within DB_ACQUIRE_TIMEOUT_SECONDS; their status is 503.",
            [
                Query(
                    "sum by (service, instance) "
                    f"(rate(db_client_connection_timeouts_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} {{instance}}",
                )
            ],
            unit="reqps",
        ),
        Panel(
            "Responses with 503",
            "Requests that failed because the database or another dependency was unavailable.",
            [
                Query(
                    "sum by (service, path) (rate(http_requests_total"
                    f'{{status="503", path!~"/health/.*", {SELECTED}}}[$__rate_interval]))',
                    "{{service}} {{path}}",
                )
            ],
            unit="reqps",
        ),
        Panel(
            "Pending migrations",
            "Migrations that are not applied, at the last check. The replica is not ready until they are.",
            [
                Query(
                    f"max by (service, instance) (db_migrations_pending{{{SELECTED}}})",
                    "{{service}} {{instance}}",
                )
            ],
            limits=(1, 1),
        ),
    ],
)

_OUTBOX = Row(
    "Outbox",
    [
        Panel(
            "Pending events",
            "Events that are committed and not published. Every replica counts the same rows.",
            [Query(f"max by (service) (outbox_pending{{{SELECTED}}})", "{{service}}")],
        ),
        Panel(
            "Age of the oldest event",
            "Age of the oldest pending event: how late subscribers receive events.",
            [Query(f"max by (service) (outbox_oldest_pending_seconds{{{SELECTED}}})", "{{service}}")],
            unit="s",
            limits=(10, 60),
        ),
        Panel(
            "Dead letters",
            "Events that the broker refused ten times. They are not retried automatically.",
            [Query(f"max by (service) (outbox_dead_letters{{{SELECTED}}})", "{{service}}")],
            limits=(1, 1),
        ),
        Panel(
            "Published",
            "Events that the broker accepted.",
            [
                Query(
                    f"sum by (service) (rate(outbox_published_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}}",
                )
            ],
            unit="ops",
            width=12,
        ),
        Panel(
            "Failed",
            "Failed attempts. `away`: the broker was unreachable; `refused`: it refused the event.",
            [
                Query(
                    f"sum by (service, reason) (rate(outbox_failures_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} {{reason}}",
                )
            ],
            unit="ops",
            width=12,
        ),
    ],
)

DATABASE = Dashboard(
    "starkeel-database",
    "Starkeel: database",
    "Connection pools, pending migrations, and the outbox.",
    "several",
    [_POOL, _OUTBOX],
)

"""The databases, seen from the services."""

from .parts import SELECTED, Board, Query, Row, View

_POOL = Row(
    "Pool",
    [
        View(
            "Connections",
            "Open connections of all workers, in use and idle, and how many there may be.",
            [
                Query(
                    f"sum by (service, instance, state) (db_client_connection_count{{{SELECTED}}})",
                    "{{service}} {{instance}} {{state}}",
                ),
                Query(
                    f"sum by (service, instance) (db_client_connection_max{{{SELECTED}}})",
                    "{{service}} {{instance}} at most",
                ),
            ],
        ),
        View(
            "In use",
            "Share of the connections that are in use. At 1 every further request waits.",
            [Query(f"instance:db_connections:used_ratio{{{SELECTED}}}", "{{service}} {{instance}}")],
            unit="percentunit",
            limits=(0.8, 0.9),
        ),
        View(
            "Requests that wait",
            "For a connection, right now.",
            [
                Query(
                    f"sum by (service, instance) (db_client_connection_pending_requests{{{SELECTED}}})",
                    "{{service}} {{instance}}",
                )
            ],
        ),
        View(
            "Requests that waited in vain",
            "For DB_ACQUIRE_TIMEOUT_SECONDS; they were answered 503.",
            [
                Query(
                    "sum by (service, instance) "
                    f"(rate(db_client_connection_timeouts_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} {{instance}}",
                )
            ],
            unit="reqps",
        ),
        View(
            "Answered 503",
            "What requests get while the database, or another dependency, is away.",
            [
                Query(
                    "sum by (service, path) (rate(http_requests_total"
                    f'{{status="503", path!~"/health/.*", {SELECTED}}}[$__rate_interval]))',
                    "{{service}} {{path}}",
                )
            ],
            unit="reqps",
        ),
        View(
            "Migrations that are missing",
            "As each replica last saw it; it is not ready while there are any.",
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
    "Events on their way out",
    [
        View(
            "Waiting",
            "Events that were committed and not published yet. Every replica counts the same rows.",
            [Query(f"max by (service) (outbox_pending{{{SELECTED}}})", "{{service}}")],
        ),
        View(
            "Age of the oldest",
            "How far behind those are who listen.",
            [Query(f"max by (service) (outbox_oldest_pending_seconds{{{SELECTED}}})", "{{service}}")],
            unit="s",
            limits=(10, 60),
        ),
        View(
            "Put aside",
            "Events that the broker refused ten times; nobody publishes them unless asked to.",
            [Query(f"max by (service) (outbox_dead_letters{{{SELECTED}}})", "{{service}}")],
            limits=(1, 1),
        ),
        View(
            "Published",
            "Events that the broker took.",
            [
                Query(
                    f"sum by (service) (rate(outbox_published_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}}",
                )
            ],
            unit="ops",
            width=12,
        ),
        View(
            "Failed",
            "Attempts to publish: `away`, no broker was reached; `refused`, it did not want the event.",
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

DATABASE = Board(
    "starkeel-database",
    "Starkeel: database",
    "Whether requests get their connections, schemas are what the code expects, and events leave.",
    "several",
    [_POOL, _OUTBOX],
)

"""Dashboard of all services."""

from collections.abc import Iterator, Sequence

from ...registry import BusinessPanel, Service
from .dashboard import Dashboard
from .panels import Panel
from .queries import (
    BUDGET_LIMITS,
    BURN_LIMITS,
    DURATIONS,
    FIRING,
    REQUESTS,
    Query,
    burn_rate,
    failed_share,
    gauge,
    per_service,
    percentile,
    rate,
    selected,
)

_RUNBOOKS = "https://github.com/starkeel/starkeel/blob/main/docs/runbooks"

_NOW = [
    Panel(
        "Replicas",
        "Replicas that Prometheus scrapes successfully.",
        [Query('sum by (service) (up{service=~"$service"})', "{{service}}")],
        kind="number",
        width=6,
        height=5,
    ),
    Panel(
        "Alerts",
        "Firing alerts. The name links to the runbook, the service to its dashboard.",
        [Query(f"count by (alertname, severity, service) ({FIRING})", "Targets")],
        kind="table",
        links={
            "alertname": f"{_RUNBOOKS}/${{__value.raw}}.md",
            "service": "/d/starkeel-service?var-service=${__value.raw}",
        },
        width=10,
        height=5,
    ),
    Panel(
        "Versions",
        "Running versions. Two versions of a service: a deployment is in progress, or it is stuck.",
        [gauge("starkeel_build_info", "service, version, revision", "Replicas", function="count")],
        kind="table",
        width=8,
        height=5,
    ),
]

_REQUESTS = [
    Panel(
        "Requests",
        "Completed requests, without health checks.",
        [rate(REQUESTS, "service")],
        unit="reqps",
    ),
    Panel(
        "Failed",
        "Share of the requests with status 5xx. The objectives are those of each service, below.",
        [failed_share("service")],
        unit="percentunit",
    ),
    Panel(
        "Duration, p99",
        "99th percentile, without streams. A dot is one request and links to its trace.",
        [percentile(0.99, DURATIONS, "service")],
        unit="s",
        exemplars=True,
    ),
]

_OBJECTIVES = [
    Panel(
        "Error budgets left",
        "Share that is left of the error budget of the window. Below 0 the objective is missed.",
        [
            Query(per_service("service:slo_failed_budget_left:ratio"), "{{service}} availability"),
            Query(per_service("service:slo_slow_budget_left:ratio"), "{{service}} latency"),
        ],
        kind="number",
        unit="percentunit",
        limits=BUDGET_LIMITS,
        width=12,
    ),
    Panel(
        "Objectives, last three days",
        "Share of the requests without status 5xx, and of the requests that were fast enough.",
        [
            Query(f"1 - {per_service('service:http_requests_failed:ratio_rate3d')}", "{{service}} available"),
            Query(f"1 - {per_service('service:http_requests_slow:ratio_rate3d')}", "{{service}} in time"),
        ],
        kind="number",
        unit="percentunit",
        width=12,
    ),
    Panel(
        "Error budget burn rate, availability",
        "1: the budget lasts exactly for the window of the objective. Red: the critical alert at 30 days.",
        [burn_rate("failed", window, f"{{{{service}}}} {window}") for window in ("1h", "6h")],
        limits=BURN_LIMITS,
        width=12,
    ),
    Panel(
        "Error budget burn rate, latency",
        "The same for requests that took longer than the objective of their service.",
        [burn_rate("slow", window, f"{{{{service}}}} {window}") for window in ("1h", "6h")],
        limits=BURN_LIMITS,
        width=12,
    ),
]

_MONITORING = [
    Panel(
        "Targets that are down",
        "Targets whose last scrape failed, by job.",
        [Query("count by (job) (up) - sum by (job) (up)", "{{job}}")],
        limits=(1, 1),
    ),
    Panel(
        "Certificates",
        "Time until the first certificate of each replica expires; only if the process terminates TLS.",
        [
            Query(
                "min by (service, instance) "
                f"({selected('starkeel_certificate_not_after_timestamp_seconds')}) - time()",
                "{{service}} {{instance}}",
            )
        ],
        unit="s",
    ),
    Panel(
        "Prometheus",
        "Undelivered notifications and failed rules. Above 0, alerts are missing.",
        [
            Query("sum(rate(prometheus_notifications_errors_total[$__rate_interval]))", "alerts lost"),
            Query("sum(rate(prometheus_rule_evaluation_failures_total[$__rate_interval]))", "rules failed"),
        ],
        unit="ops",
    ),
]

_COLUMNS = 24
_PER_ROW = 3


def fleet(services: Sequence[Service]) -> Dashboard:
    """Return the dashboard, with the panels of the services' own metrics."""
    business = list(_business([panel for service in services for panel in service.panels]))
    return Dashboard(
        "starkeel-fleet",
        "Starkeel: fleet",
        "Whether the objectives are met, and which service to examine if they are not.",
        {
            "Now": _NOW,
            "Requests": _REQUESTS,
            "Objectives": _OBJECTIVES,
            **({"Business": business} if business else {}),
            "Monitoring": _MONITORING,
        },
    )


def _business(declared: Sequence[BusinessPanel]) -> Iterator[Panel]:
    for first in range(0, len(declared), _PER_ROW):
        row = declared[first : first + _PER_ROW]
        for panel in row:
            queries = [Query(query.expr, query.legend) for query in panel.queries]
            yield Panel(
                panel.title,
                panel.description,
                queries,
                kind=panel.kind,
                unit=panel.unit,
                width=_COLUMNS // len(row),
            )

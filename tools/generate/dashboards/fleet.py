"""Dashboard of all services."""

from .dashboard import Dashboard
from .panels import Panel
from .queries import DURATIONS, FIRING, REQUESTS, Query, failed_share, gauge, percentile, rate, selected

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
        "Share of the requests with status 5xx. Yellow: the objective; red: ten times that.",
        [failed_share("service")],
        unit="percentunit",
        limits=(0.001, 0.01),
    ),
    Panel(
        "Duration, p99",
        "99th percentile, without streams. A dot is one request and links to its trace.",
        [percentile(0.99, DURATIONS, "service")],
        unit="s",
        limits=(0.5, 2.0),
        exemplars=True,
    ),
]

_OBJECTIVES = [
    Panel(
        "Error budget burn rate, availability",
        "1: the budget lasts exactly for the period of the objective. 14.4 for one hour: critical alert.",
        [
            Query(
                'service:http_requests_failed:ratio_rate1h{service=~"$service"} / 0.001', "{{service}} 1 h"
            ),
            Query(
                'service:http_requests_failed:ratio_rate6h{service=~"$service"} / 0.001', "{{service}} 6 h"
            ),
        ],
        limits=(1, 14.4),
    ),
    Panel(
        "Error budget burn rate, latency",
        "The same for requests that took longer than 0.5 s.",
        [
            Query('service:http_requests_slow:ratio_rate1h{service=~"$service"} / 0.01', "{{service}} 1 h"),
            Query('service:http_requests_slow:ratio_rate6h{service=~"$service"} / 0.01', "{{service}} 6 h"),
        ],
        limits=(1, 14.4),
    ),
    Panel(
        "Objectives, last three days",
        "Share of the requests without status 5xx, and of the requests that took at most 0.5 s.",
        [
            Query(
                '1 - service:http_requests_failed:ratio_rate3d{service=~"$service"}', "{{service}} available"
            ),
            Query('1 - service:http_requests_slow:ratio_rate3d{service=~"$service"}', "{{service}} in time"),
        ],
        kind="number",
        unit="percentunit",
    ),
]

_BUSINESS = [
    Panel(
        "Users",
        "Registrations, and requests for a token by result.",
        [
            rate("users_created_total", "", "registered"),
            rate("tokens_issued_total", "result", "token {{result}}"),
        ],
        unit="ops",
    ),
    Panel(
        "Orders",
        "Orders placed, by product.",
        [rate("orders_created_total", "product")],
        kind="stack",
        unit="ops",
    ),
    Panel(
        "Time to place an order",
        "From the accepted request to the committed order.",
        [percentile(quantile, "order_creation_duration_seconds_bucket") for quantile in (0.5, 0.99)],
        unit="s",
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

FLEET = Dashboard(
    "starkeel-fleet",
    "Starkeel: fleet",
    "Whether the objectives are met, and which service to examine if they are not.",
    {
        "Now": _NOW,
        "Requests": _REQUESTS,
        "Objectives": _OBJECTIVES,
        "Business": _BUSINESS,
        "Monitoring": _MONITORING,
    },
)

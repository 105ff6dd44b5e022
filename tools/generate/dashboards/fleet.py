"""Dashboard of all services."""

from .parts import SELECTED, Dashboard, Panel, Query, Row

RUNBOOKS = "https://github.com/starkeel/starkeel/blob/main/docs/runbooks"
_REQUESTS = f'http_requests_total{{path!~"/health/.*", {SELECTED}}}'
_FAILED = f'http_requests_total{{path!~"/health/.*", status=~"5..", {SELECTED}}}'
_BUCKETS = (
    f'http_requests_duration_seconds_bucket{{path!~"/health/.*|.*/(events|live)", status!="101", {SELECTED}}}'
)

_NOW = Row(
    "Now",
    [
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
            [
                Query(
                    "count by (alertname, severity, service) "
                    '(ALERTS{alertstate="firing", alertname!="Watchdog"})',
                    "Targets",
                )
            ],
            kind="table",
            links={
                "alertname": f"{RUNBOOKS}/${{__value.raw}}.md",
                "service": "/d/starkeel-service?var-service=${__value.raw}",
            },
            width=10,
            height=5,
        ),
        Panel(
            "Versions",
            "Running versions. Two versions of a service: a deployment is in progress, or it is stuck.",
            [Query(f"count by (service, version, revision) (starkeel_build_info{{{SELECTED}}})", "Replicas")],
            kind="table",
            width=8,
            height=5,
        ),
    ],
)

_REQUEST_ROW = Row(
    "Requests",
    [
        Panel(
            "Requests",
            "Completed requests, without health checks.",
            [Query(f"sum by (service) (rate({_REQUESTS}[$__rate_interval]))", "{{service}}")],
            unit="reqps",
        ),
        Panel(
            "Failed",
            "Share of the requests with status 5xx. Yellow: the objective; red: ten times that.",
            [
                Query(
                    f"(sum by (service) (rate({_FAILED}[$__rate_interval]))"
                    f" or 0 * sum by (service) (rate({_REQUESTS}[$__rate_interval])))"
                    f" / sum by (service) (rate({_REQUESTS}[$__rate_interval]))",
                    "{{service}}",
                )
            ],
            unit="percentunit",
            limits=(0.001, 0.01),
        ),
        Panel(
            "Duration, p99",
            "99th percentile, without streams. A dot is one request and links to its trace.",
            [
                Query(
                    f"histogram_quantile(0.99, sum by (service, le) (rate({_BUCKETS}[$__rate_interval])))",
                    "{{service}}",
                )
            ],
            unit="s",
            limits=(0.5, 2.0),
            exemplars=True,
        ),
    ],
)

_OBJECTIVES = Row(
    "Objectives",
    [
        Panel(
            "Error budget burn rate, availability",
            "1: the budget lasts exactly for the period of the objective. 14.4 for one hour: critical alert.",
            [
                Query(
                    'service:http_requests_failed:ratio_rate1h{service=~"$service"} / 0.001',
                    "{{service}} 1 h",
                ),
                Query(
                    'service:http_requests_failed:ratio_rate6h{service=~"$service"} / 0.001',
                    "{{service}} 6 h",
                ),
            ],
            limits=(1, 14.4),
        ),
        Panel(
            "Error budget burn rate, latency",
            "The same for requests that took longer than 0.5 s.",
            [
                Query(
                    'service:http_requests_slow:ratio_rate1h{service=~"$service"} / 0.01', "{{service}} 1 h"
                ),
                Query(
                    'service:http_requests_slow:ratio_rate6h{service=~"$service"} / 0.01', "{{service}} 6 h"
                ),
            ],
            limits=(1, 14.4),
        ),
        Panel(
            "Objectives, last three days",
            "Share of the requests without status 5xx, and of the requests that took at most 0.5 s.",
            [
                Query(
                    '1 - service:http_requests_failed:ratio_rate3d{service=~"$service"}',
                    "{{service}} available",
                ),
                Query(
                    '1 - service:http_requests_slow:ratio_rate3d{service=~"$service"}',
                    "{{service}} in time",
                ),
            ],
            kind="number",
            unit="percentunit",
        ),
    ],
)

_BUSINESS = Row(
    "Business",
    [
        Panel(
            "Users",
            "Registrations, and requests for a token by result.",
            [
                Query(f"sum(rate(users_created_total{{{SELECTED}}}[$__rate_interval]))", "registered"),
                Query(
                    f"sum by (result) (rate(tokens_issued_total{{{SELECTED}}}[$__rate_interval]))",
                    "token {{result}}",
                ),
            ],
            unit="ops",
        ),
        Panel(
            "Orders",
            "Orders placed, by product.",
            [
                Query(
                    f"sum by (product) (rate(orders_created_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{product}}",
                )
            ],
            kind="stack",
            unit="ops",
        ),
        Panel(
            "Time to place an order",
            "From the accepted request to the committed order.",
            [
                Query(
                    f"histogram_quantile({quantile}, sum by (le) "
                    f"(rate(order_creation_duration_seconds_bucket{{{SELECTED}}}[$__rate_interval])))",
                    name,
                )
                for quantile, name in ((0.5, "p50"), (0.99, "p99"))
            ],
            unit="s",
        ),
    ],
)

_TARGETS = Row(
    "Monitoring",
    [
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
                    f"(starkeel_certificate_not_after_timestamp_seconds{{{SELECTED}}}) - time()",
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
                Query(
                    "sum(rate(prometheus_rule_evaluation_failures_total[$__rate_interval]))", "rules failed"
                ),
            ],
            unit="ops",
        ),
    ],
)

FLEET = Dashboard(
    "starkeel-fleet",
    "Starkeel: fleet",
    "Whether the objectives are met, and which service to examine if they are not.",
    "several",
    [_NOW, _REQUEST_ROW, _OBJECTIVES, _BUSINESS, _TARGETS],
)

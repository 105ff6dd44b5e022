"""All services at a glance."""

from .parts import SELECTED, Board, Query, Row, View

RUNBOOKS = "https://github.com/starkeel/starkeel/blob/main/docs/runbooks"
_REQUESTS = f'http_requests_total{{path!~"/health/.*", {SELECTED}}}'
_FAILED = f'http_requests_total{{path!~"/health/.*", status=~"5..", {SELECTED}}}'
_BUCKETS = (
    f'http_requests_duration_seconds_bucket{{path!~"/health/.*|.*/(events|live)", status!="101", {SELECTED}}}'
)

_NOW = Row(
    "Now",
    [
        View(
            "Replicas",
            "Replicas whose metrics can be read.",
            [Query('sum by (service) (up{service=~"$service"})', "{{service}}")],
            kind="number",
            width=6,
            height=5,
        ),
        View(
            "Alerts",
            "What is firing. A name leads to what it means and what to do, a service to its dashboard.",
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
        View(
            "Versions",
            "What runs where. Two versions of a service are a deployment under way, or one that stopped.",
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
        View(
            "Requests",
            "Answered requests, probes left out.",
            [Query(f"sum by (service) (rate({_REQUESTS}[$__rate_interval]))", "{{service}}")],
            unit="reqps",
        ),
        View(
            "Failed",
            "Share of the requests that were answered 5xx; the line is ten times what the objective allows.",
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
        View(
            "Slowest of a hundred",
            "99 of 100 requests were faster; streams left out. Click a dot for the trace of that request.",
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
        View(
            "Allowance of failures, how fast it is used up",
            "1: just as fast as it lasts. From 14.4 on, for an hour, somebody is woken.",
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
        View(
            "Allowance of slow requests, how fast it is used up",
            "Likewise, of requests that took longer than half a second.",
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
        View(
            "Within the objectives, three days",
            "Share of the requests that were answered without an error of ours, and of those in time.",
            [
                Query(
                    '1 - service:http_requests_failed:ratio_rate3d{service=~"$service"}',
                    "{{service}} answered",
                ),
                Query(
                    '1 - service:http_requests_slow:ratio_rate3d{service=~"$service"}', "{{service}} in time"
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
        View(
            "Users",
            "Sign-ups, and answers to requests for a token.",
            [
                Query(f"sum(rate(users_created_total{{{SELECTED}}}[$__rate_interval]))", "signed up"),
                Query(
                    f"sum by (result) (rate(tokens_issued_total{{{SELECTED}}}[$__rate_interval]))",
                    "token {{result}}",
                ),
            ],
            unit="ops",
        ),
        View(
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
        View(
            "Time to place an order",
            "From the accepted request to the committed order.",
            [
                Query(
                    f"histogram_quantile({quantile}, sum by (le) "
                    f"(rate(order_creation_duration_seconds_bucket{{{SELECTED}}}[$__rate_interval])))",
                    name,
                )
                for quantile, name in ((0.5, "half"), (0.99, "99 of 100"))
            ],
            unit="s",
        ),
    ],
)

_TARGETS = Row(
    "What is watched, and who watches",
    [
        View(
            "Targets that do not answer",
            "Addresses whose metrics cannot be read, by job.",
            [Query("count by (job) (up) - sum by (job) (up)", "{{job}}")],
            limits=(1, 1),
        ),
        View(
            "Certificates",
            "Time until the first certificate of each replica expires, where the process speaks TLS.",
            [
                Query(
                    "min by (service, instance) "
                    f"(starkeel_certificate_not_after_timestamp_seconds{{{SELECTED}}}) - time()",
                    "{{service}} {{instance}}",
                )
            ],
            unit="s",
        ),
        View(
            "Prometheus",
            "Alerts that could not be handed on, and rules that failed: both are 0, or alerts are missing.",
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

FLEET = Board(
    "starkeel-fleet",
    "Starkeel: fleet",
    "Whether people get what they were promised, and which service to look at if not.",
    "several",
    [_NOW, _REQUEST_ROW, _OBJECTIVES, _BUSINESS, _TARGETS],
)

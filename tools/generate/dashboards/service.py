"""Dashboard of one service, by the RED method for requests and the USE method for resources."""

from .parts import SELECTED, Dashboard, Panel, Query, Row

_REQUESTS = f'http_requests_total{{path!~"/health/.*", {SELECTED}}}'
_FAILED = f'http_requests_total{{path!~"/health/.*", status=~"5..", {SELECTED}}}'
_BUCKETS = (
    f'http_requests_duration_seconds_bucket{{path!~"/health/.*|.*/(events|live)", status!="101", {SELECTED}}}'
)


def _percentile(quantile: float, by: str) -> str:
    inner = f"sum by ({by}) (rate({_BUCKETS}[$__rate_interval]))"
    return f"histogram_quantile({quantile}, {inner})"


_RED = Row(
    "Requests: rate, errors, duration",
    [
        Panel(
            "Rate",
            "Requests by route, without health checks. `__unmatched__`: no route matched.",
            [Query(f"sum by (path) (rate({_REQUESTS}[$__rate_interval]))", "{{path}}")],
            kind="stack",
            unit="reqps",
        ),
        Panel(
            "Outcome",
            "Requests by status. 499: client disconnected; 503: dependency unavailable, or stopping.",
            [Query(f"sum by (status) (rate({_REQUESTS}[$__rate_interval]))", "{{status}}")],
            kind="stack",
            unit="reqps",
        ),
        Panel(
            "Duration",
            "Percentiles, without streams. A dot is one request and links to its trace.",
            [
                Query(_percentile(0.5, "le"), "p50"),
                Query(_percentile(0.95, "le"), "p95"),
                Query(_percentile(0.99, "le"), "p99"),
            ],
            unit="s",
            limits=(0.5, 2.0),
            exemplars=True,
        ),
        Panel(
            "Routes",
            "Rate, share of status 5xx, and 99th percentile of the duration, by route.",
            [
                Query(f"sum by (method, path) (rate({_REQUESTS}[$__rate_interval]))", "Rate", "reqps"),
                Query(
                    f"(sum by (method, path) (rate({_FAILED}[$__rate_interval]))"
                    f" or 0 * sum by (method, path) (rate({_REQUESTS}[$__rate_interval])))"
                    f" / sum by (method, path) (rate({_REQUESTS}[$__rate_interval]))",
                    "Failed",
                    "percentunit",
                ),
                Query(_percentile(0.99, "method, path, le"), "p99", "s"),
            ],
            kind="table",
            width=12,
            height=9,
        ),
        Panel(
            "Durations",
            "Distribution of the durations. Two bands: two kinds of request, or a cache.",
            [Query(f"sum by (le) (increase({_BUCKETS}[$__rate_interval]))", "{{le}}")],
            kind="heat",
            unit="s",
            width=12,
            height=9,
            exemplars=True,
        ),
    ],
)

_USE = Row(
    "Resources: utilization, saturation, errors",
    [
        Panel(
            "CPU",
            "CPU cores in use, by process. A worker with 1 is saturated: it has one event loop.",
            [
                Query(
                    "sum by (instance, process) "
                    f"(rate(process_cpu_seconds_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{instance}} {{process}}",
                )
            ],
            limits=(0.8, 1.0),
        ),
        Panel(
            "Event loop lag, p99",
            "Delay between the time a timer is due and the time it runs. It adds to every request.",
            [
                Query(
                    "histogram_quantile(0.99, sum by (instance, le) "
                    f"(rate(starkeel_event_loop_lag_seconds_bucket{{{SELECTED}}}[$__rate_interval])))",
                    "{{instance}}",
                )
            ],
            unit="s",
            limits=(0.1, 0.5),
        ),
        Panel(
            "Requests in flight",
            "Open requests and WebSockets.",
            [Query(f"sum by (instance) (http_requests_in_flight{{{SELECTED}}})", "{{instance}}")],
        ),
        Panel(
            "Memory",
            "Resident memory of the main process and all workers.",
            [
                Query(
                    f"sum by (instance) (process_resident_memory_bytes{{{SELECTED}}})",
                    "{{instance}}",
                )
            ],
            unit="bytes",
        ),
        Panel(
            "Database connections",
            "Share of the connections in use, and requests that wait for a connection.",
            [
                Query(
                    f"instance:db_connections:used_ratio{{{SELECTED}}}", "{{instance}} used", "percentunit"
                ),
                Query(
                    f"sum by (instance) (db_client_connection_pending_requests{{{SELECTED}}})",
                    "{{instance}} waiting",
                ),
            ],
        ),
        Panel(
            "Rate limits",
            "Requests to limited routes. `over`: status 429; `unchecked_*`: Redis is unavailable.",
            [
                Query(
                    "sum by (limit, result) "
                    f"(rate(rate_limit_requests_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{limit}} {{result}}",
                )
            ],
            unit="reqps",
        ),
    ],
)

_SINGLE_REQUESTS = Row(
    "Single requests",
    [
        Panel(
            "Failed and slow requests",
            "Traces of requests that failed or took longer than 0.5 s.",
            [
                Query('{resource.service.name=~"$service" && status=error}'),
                Query('{resource.service.name=~"$service" && kind=server && duration>500ms}'),
            ],
            kind="traces",
            width=12,
            height=10,
        ),
        Panel(
            "Errors in the log",
            "Open a line for its fields and the link to its trace.",
            [Query('{service_name=~"$service"} | level="ERROR"')],
            kind="logs",
            width=12,
            height=10,
        ),
    ],
)

SERVICE = Dashboard(
    "starkeel-service",
    "Starkeel: one service",
    "Rate, errors and duration of its requests, the resources they use, and single requests.",
    "one",
    [_RED, _USE, _SINGLE_REQUESTS],
)

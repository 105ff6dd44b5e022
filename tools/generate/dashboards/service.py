"""One service: rate, errors and duration of its requests; use, saturation and errors of what they need."""

from .parts import SELECTED, Board, Query, Row, View

_REQUESTS = f'http_requests_total{{path!~"/health/.*", {SELECTED}}}'
_FAILED = f'http_requests_total{{path!~"/health/.*", status=~"5..", {SELECTED}}}'
_BUCKETS = (
    f'http_requests_duration_seconds_bucket{{path!~"/health/.*|.*/(events|live)", status!="101", {SELECTED}}}'
)


def _slowest(quantile: float, by: str) -> str:
    inner = f"sum by ({by}) (rate({_BUCKETS}[$__rate_interval]))"
    return f"histogram_quantile({quantile}, {inner})"


_RED = Row(
    "Requests: rate, errors, duration",
    [
        View(
            "Rate",
            "Requests by route, probes left out. `__unmatched__` is whatever no route matches.",
            [Query(f"sum by (path) (rate({_REQUESTS}[$__rate_interval]))", "{{path}}")],
            kind="stack",
            unit="reqps",
        ),
        View(
            "Outcome",
            "Requests by status. 499: the client gave up; 503: a dependency is away, or the service stops.",
            [Query(f"sum by (status) (rate({_REQUESTS}[$__rate_interval]))", "{{status}}")],
            kind="stack",
            unit="reqps",
        ),
        View(
            "Duration",
            "Streams left out. Click a dot for the trace of that request.",
            [
                Query(_slowest(0.5, "le"), "half"),
                Query(_slowest(0.95, "le"), "95 of 100"),
                Query(_slowest(0.99, "le"), "99 of 100"),
            ],
            unit="s",
            limits=(0.5, 2.0),
            exemplars=True,
        ),
        View(
            "Routes",
            "Each route's requests, the share answered 5xx, and what 99 of 100 are faster than.",
            [
                Query(f"sum by (method, path) (rate({_REQUESTS}[$__rate_interval]))", "Rate", "reqps"),
                Query(
                    f"(sum by (method, path) (rate({_FAILED}[$__rate_interval]))"
                    f" or 0 * sum by (method, path) (rate({_REQUESTS}[$__rate_interval])))"
                    f" / sum by (method, path) (rate({_REQUESTS}[$__rate_interval]))",
                    "Failed",
                    "percentunit",
                ),
                Query(_slowest(0.99, "method, path, le"), "99 of 100", "s"),
            ],
            kind="table",
            width=12,
            height=9,
        ),
        View(
            "Durations",
            "How many requests took how long: two bands are two kinds of request, or a cache.",
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
    "What they need: use, saturation, errors",
    [
        View(
            "Processor",
            "Processors in use, by process. A worker that is at 1 cannot do more: it has one event loop.",
            [
                Query(
                    "sum by (instance, process) "
                    f"(rate(process_cpu_seconds_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{instance}} {{process}}",
                )
            ],
            limits=(0.8, 1.0),
        ),
        View(
            "Event loop",
            "How late the loop comes to what is due, 99 of 100 looks. Every request waits for that.",
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
        View(
            "Open requests",
            "Requests and WebSockets that are open at once.",
            [Query(f"sum by (instance) (http_requests_in_flight{{{SELECTED}}})", "{{instance}}")],
        ),
        View(
            "Memory",
            "Resident memory, main process and workers together.",
            [
                Query(
                    f"sum by (instance) (process_resident_memory_bytes{{{SELECTED}}})",
                    "{{instance}}",
                )
            ],
            unit="bytes",
        ),
        View(
            "Database connections",
            "Share of the connections in use, and requests that wait for one.",
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
        View(
            "Rate limits",
            "Requests to limited routes; `over` were answered 429, `unchecked` mean that Redis is away.",
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

_STORIES = Row(
    "Single requests",
    [
        View(
            "Failed, and late",
            "Traces of requests that failed or took longer than half a second; click one for its spans.",
            [
                Query('{resource.service.name=~"$service" && status=error}'),
                Query('{resource.service.name=~"$service" && kind=server && duration>500ms}'),
            ],
            kind="traces",
            width=12,
            height=10,
        ),
        View(
            "Errors in the log",
            "Open a line for its fields; `Its trace` is among them.",
            [Query('{service_name=~"$service"} | level="ERROR"')],
            kind="logs",
            width=12,
            height=10,
        ),
    ],
)

SERVICE = Board(
    "starkeel-service",
    "Starkeel: one service",
    "Which requests of a service go wrong, what they lack, and what one of them went through.",
    "one",
    [_RED, _USE, _STORIES],
)

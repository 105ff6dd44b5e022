"""Dashboard of one service, by the RED method for requests and the USE method for resources."""

from collections.abc import Sequence

from ...registry import Service
from ...slo import Slo
from .dashboard import Dashboard
from .panels import Panel
from .queries import (
    BUDGET_LIMITS,
    BURN_LIMITS,
    DURATIONS,
    REQUESTS,
    Query,
    burn_rate,
    distribution,
    failed_share,
    gauge,
    per_service,
    percentile,
    rate,
    selected,
)

_OBJECTIVES = [
    Panel(
        "Error budget left",
        "Share that is left of the error budget of the window. Below 0 the objective is missed.",
        [
            Query(per_service("service:slo_failed_budget_left:ratio"), "availability"),
            Query(per_service("service:slo_slow_budget_left:ratio"), "latency"),
        ],
        kind="number",
        unit="percentunit",
        limits=BUDGET_LIMITS,
    ),
    Panel(
        "Burn rate",
        "1: the budget lasts exactly for the window of the objective. Red: the critical alert at 30 days.",
        [
            burn_rate(bad, window, f"{name} {window}")
            for bad, name in (("failed", "availability"), ("slow", "latency"))
            for window in ("1h", "6h")
        ],
        limits=BURN_LIMITS,
    ),
    Panel(
        "Objectives, last three days",
        "Share of the requests without status 5xx and of those that were fast enough, and the objectives.",
        [
            Query(f"1 - {per_service('service:http_requests_failed:ratio_rate3d')}", "available"),
            Query(f"1 - {per_service('service:slo_failed_budget:ratio')}", "objective"),
            Query(f"1 - {per_service('service:http_requests_slow:ratio_rate3d')}", "in time"),
            Query(f"1 - {per_service('service:slo_slow_budget:ratio')}", "objective of latency"),
        ],
        kind="number",
        unit="percentunit",
    ),
]

_RED = [
    Panel(
        "Rate",
        "Requests by route, without health checks. `__unmatched__`: no route matched.",
        [rate(REQUESTS, "path")],
        kind="stack",
        unit="reqps",
    ),
    Panel(
        "Outcome",
        "Requests by status. 499: client disconnected; 503: dependency unavailable, or stopping.",
        [rate(REQUESTS, "status")],
        kind="stack",
        unit="reqps",
    ),
    Panel(
        "Duration",
        "Percentiles, without streams, and the objective. A dot is one request and links to its trace.",
        [
            *(percentile(quantile, DURATIONS) for quantile in (0.5, 0.95, 0.99)),
            Query(per_service("service:slo_latency_threshold:seconds"), "objective"),
        ],
        unit="s",
        exemplars=True,
    ),
    Panel(
        "Routes",
        "Rate, share of status 5xx, and 99th percentile of the duration, by route.",
        [
            rate(REQUESTS, "method, path", "Rate", "reqps"),
            failed_share("method, path", "Failed", "percentunit"),
            percentile(0.99, DURATIONS, "method, path", "p99", "s"),
        ],
        kind="table",
        width=12,
        height=9,
    ),
    Panel(
        "Durations",
        "Distribution of the durations. Two bands: two kinds of request, or a cache.",
        [distribution(DURATIONS)],
        kind="heat",
        unit="s",
        width=12,
        height=9,
        exemplars=True,
    ),
]

_USE = [
    Panel(
        "CPU",
        "CPU cores in use, by process. A worker with 1 is saturated: it has one event loop.",
        [rate("process_cpu_seconds_total", "instance, process")],
        limits=(0.8, 1.0),
    ),
    Panel(
        "Event loop lag, p99",
        "Delay between the time a timer is due and the time it runs. It adds to every request.",
        [percentile(0.99, "starkeel_event_loop_lag_seconds_bucket", "instance")],
        unit="s",
        limits=(0.1, 0.5),
    ),
    Panel(
        "Requests in flight",
        "Open requests and WebSockets.",
        [gauge("http_requests_in_flight", "instance")],
    ),
    Panel(
        "Memory",
        "Resident memory of the main process and all workers.",
        [gauge("process_resident_memory_bytes", "instance")],
        unit="bytes",
    ),
    Panel(
        "Database connections",
        "Share of the connections in use, and requests that wait for a connection.",
        [
            Query(selected("instance:db_connections:used_ratio"), "{{instance}} used", "percentunit"),
            gauge("db_client_connection_pending_requests", "instance", "{{instance}} waiting"),
        ],
    ),
    Panel(
        "Rate limits",
        "Requests to limited routes. `over`: status 429; `degraded_*`, `unchecked_*`: Redis is unavailable.",
        [rate("rate_limit_requests_total", "limit, result")],
        unit="reqps",
    ),
    Panel(
        "Load shedding",
        "Requests that were refused under load, and requests that wait for their turn, by group of routes.",
        [
            rate("load_shed_requests_total", "group, reason"),
            gauge("load_waiting_requests", "group", "{{group}} waiting"),
        ],
    ),
    Panel(
        "Requests that waited",
        "Requests that waited for their turn before they began, by group of routes.",
        [rate("load_queue_seconds_count", "group")],
        unit="reqps",
    ),
    Panel(
        "Executing requests",
        "Requests that execute, of those that began while many were open, by group of routes.",
        [gauge("load_executing_requests", "group")],
    ),
]

_UPSTREAMS = [
    Panel(
        "Requests to upstreams",
        "By result, retries included. `rejected` by the circuit breaker and `limited` were not sent.",
        [rate("upstream_requests_total", "upstream, outcome")],
        unit="reqps",
    ),
    Panel(
        "Duration, p99",
        "Time until the response of the upstream was read completely, or the request failed.",
        [percentile(0.99, "upstream_request_duration_seconds_bucket", "upstream")],
        unit="s",
    ),
    Panel(
        "Breakers that are not closed",
        "Workers whose breaker is open, or half-open: the next call tests the upstream.",
        [gauge('upstream_breaker_workers{state!="closed"}', "upstream, state")],
        limits=(1, 1),
    ),
    Panel(
        "Requests in flight",
        "Requests to the upstream that have not ended, and those that wait because `MAX_REQUESTS` are open.",
        [
            gauge("upstream_requests_in_flight", "instance, upstream"),
            gauge("upstream_requests_waiting", "instance, upstream", "{{instance}} {{upstream}} waiting"),
        ],
    ),
    Panel(
        "Connections",
        "Connections to the upstream of all workers, used and idle, and requests that wait for one.",
        [gauge("upstream_connections", "upstream, state")],
    ),
    Panel(
        "Retries and hedged reads",
        "Retries, reads that were sent again by the request that was answered first, and refused ones.",
        [
            rate("upstream_retries_total", "upstream"),
            rate("upstream_hedged_requests_total", "upstream, winner", "{{upstream}} hedged, {{winner}} won"),
            rate("upstream_retries_refused_total", "upstream", "{{upstream}} refused"),
        ],
        unit="reqps",
    ),
]


def service(services: Sequence[Service]) -> Dashboard:
    """Return the dashboard; requests that miss the strictest latency objective are slow."""
    slow_ms = min([each.slo.latency_ms for each in services], default=Slo().latency_ms)
    return Dashboard(
        "starkeel-service",
        "Starkeel: one service",
        "Objectives, rate, errors and duration of its requests, the resources they use, and single requests.",
        {
            "Objectives": _OBJECTIVES,
            "Requests: rate, errors, duration": _RED,
            "Resources: utilization, saturation, errors": _USE,
            "Upstreams: other services that it calls": _UPSTREAMS,
            "Single requests": _single_requests(slow_ms),
        },
        services="one",
    )


def _single_requests(slow_ms: int) -> list[Panel]:
    return [
        Panel(
            "Failed and slow requests",
            f"Traces of requests that failed or took longer than {slow_ms} ms.",
            [
                Query('{resource.service.name=~"$service" && status=error}'),
                Query(f'{{resource.service.name=~"$service" && kind=server && duration>{slow_ms}ms}}'),
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
    ]

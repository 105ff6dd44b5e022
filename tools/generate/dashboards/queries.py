"""Queries of panels; the common forms in PromQL, for the services and instances that are selected."""

from typing import NamedTuple

SELECTED = 'service=~"$service", instance=~"$instance"'
"""Label matchers of the variables that every dashboard has."""

FIRING = 'ALERTS{alertstate="firing", alertname!="Watchdog"}'
REQUESTS = 'http_requests_total{path!~"/health/.*"}'
FAILED = 'http_requests_total{path!~"/health/.*", status=~"5.."}'
DURATIONS = 'http_requests_duration_seconds_bucket{path!~"/health/.*|.*/(events|live)", status!="101"}'
BUDGET_LIMITS = (0.2, 0.0)
"""Of what is left of an error budget; below the second, the objective is missed."""
BURN_LIMITS = (1, 14.4)
"""Of a burn rate; the second is that of the critical alert, if the window of the objective is 30 days."""
_INTERVAL = "$__rate_interval"


class Query(NamedTuple):
    """A query, in the language of its data source.

    Attributes:
        expr: The query.
        legend: Name of its series, or of its column.
        unit: Grafana's name of its unit, if it differs from the panel's.
    """

    expr: str
    legend: str = ""
    unit: str = ""


def selected(metric: str) -> str:
    """Return the selected series of a metric, which may have label matchers of its own."""
    name, _, matchers = metric.removesuffix("}").partition("{")
    return f"{name}{{{matchers}{', ' if matchers else ''}{SELECTED}}}"


def gauge(metric: str, by: str, legend: str = "", *, function: str = "sum") -> Query:
    """Return the aggregate of a metric by labels, which are also the default legend."""
    return Query(_aggregate(selected(metric), by, function), legend or _legend(by))


def rate(metric: str, by: str, legend: str = "", unit: str = "") -> Query:
    """Return the sum of a counter's rates per second by labels, which are also the default legend."""
    return Query(_rate(metric, by), legend or _legend(by), unit)


def increase(metric: str, by: str, legend: str = "", *, interval: str = "15m") -> Query:
    """Return the sum of a counter's increases by labels, which are also the default legend."""
    return Query(_aggregate(f"increase({selected(metric)}[{interval}])", by), legend or _legend(by))


def distribution(buckets: str) -> Query:
    """Return the increase of each bucket of a histogram, for a heat map."""
    return increase(buckets, "le", interval=_INTERVAL)


def percentile(quantile: float, buckets: str, by: str = "", legend: str = "", unit: str = "") -> Query:
    """Return a percentile of a histogram by labels; the default legend is the labels, or `p99`."""
    rates = _rate(buckets, f"{by}, le" if by else "le")
    legend = legend or (_legend(by) if by else f"p{quantile * 100:g}")
    return Query(f"histogram_quantile({quantile}, {rates})", legend, unit)


def failed_share(by: str, legend: str = "", unit: str = "") -> Query:
    """Return the share of requests with status 5xx by labels; 0 where no request failed."""
    failed, all_requests = _rate(FAILED, by), _rate(REQUESTS, by)
    return Query(f"({failed} or 0 * {all_requests}) / {all_requests}", legend or _legend(by), unit)


def per_service(metric: str) -> str:
    """Return the selected series of a recorded metric that has no label but the service."""
    return f'{metric}{{service=~"$service"}}'


def burn_rate(bad: str, window: str, legend: str) -> Query:
    """Return how fast the error budget of `failed` or `slow` requests is used; 1 uses it up in its window."""
    share = per_service(f"service:http_requests_{bad}:ratio_rate{window}")
    return Query(f"{share} / on (service) {per_service(f'service:slo_{bad}_budget:ratio')}", legend)


def _rate(metric: str, by: str) -> str:
    return _aggregate(f"rate({selected(metric)}[{_INTERVAL}])", by)


def _aggregate(vector: str, by: str, function: str = "sum") -> str:
    return f"{function} by ({by}) ({vector})" if by else f"{function}({vector})"


def _legend(by: str) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in by.split(", "))

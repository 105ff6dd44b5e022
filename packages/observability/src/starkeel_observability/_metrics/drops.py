"""Metrics of telemetry that was dropped."""

from collections.abc import Iterable
from functools import cache

from prometheus_client import Counter

from .._config.log_levels import SEVERITIES
from .api import counter


@cache
def dropped_records() -> Counter:
    """Return the counter of log lines that could not be written."""
    return _counter("log_records_dropped_total", "Log lines that could not be written.", level=SEVERITIES)


@cache
def suppressed_records() -> Counter:
    """Return the counter of log lines that flood control suppressed."""
    return _counter(
        "log_records_sampled_out_total",
        "Repeated warnings and errors that flood control suppressed.",
        level=("WARN", "ERROR"),
    )


@cache
def dropped_spans() -> Counter:
    """Return the counter of spans that no collector accepted."""
    reasons = ("queue_full", "unavailable", "refused", "rejected")
    return _counter("starkeel_spans_dropped_total", "Spans that no collector accepted.", reason=reasons)


@cache
def exported_spans() -> Counter:
    """Return the counter of spans that a collector accepted."""
    return counter("starkeel_spans_exported_total", "Spans that a collector accepted.")


def _counter(name: str, documentation: str, **labels: Iterable[str]) -> Counter:
    """Create a counter, every series at 0: `increase()` misses the first value of one that appears later."""
    ((label, values),) = labels.items()
    made = counter(name, documentation, labels=(label,))
    for value in values:
        made.labels(value)
    return made

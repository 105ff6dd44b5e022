"""Metrics of telemetry that was dropped."""

from collections.abc import Iterable
from functools import cache

from prometheus_client import Counter

from .api import counter

_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")


@cache
def dropped_records() -> Counter:
    """Return the counter of log lines that could not be written."""
    made = counter("log_records_dropped_total", "Log lines that could not be written.", labels=("level",))
    return _initialize(made, _LEVELS)


@cache
def suppressed_records() -> Counter:
    """Return the counter of log lines that flood control suppressed."""
    made = counter(
        "log_records_sampled_out_total",
        "Repeated warnings and errors that flood control suppressed.",
        labels=("level",),
    )
    return _initialize(made, ("WARN", "ERROR"))


@cache
def dropped_spans() -> Counter:
    """Return the counter of spans that no collector accepted."""
    made = counter("starkeel_spans_dropped_total", "Spans that no collector accepted.", labels=("reason",))
    return _initialize(made, ("queue_full", "unavailable", "refused", "rejected"))


@cache
def exported_spans() -> Counter:
    """Return the counter of spans that a collector accepted."""
    return counter("starkeel_spans_exported_total", "Spans that a collector accepted.")


def _initialize(made: Counter, values: Iterable[str]) -> Counter:
    """Create every series at 0: `increase()` misses the first value of a series that appears later."""
    for value in values:
        made.labels(value)
    return made

"""What telemetry had to let go of."""

from collections.abc import Iterable
from functools import cache

from prometheus_client import Counter

from .api import counter

_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")


@cache
def dropped_records() -> Counter:
    """Log lines that were not written."""
    made = counter("log_records_dropped_total", "Log lines that were not written.", labels=("level",))
    return _from_zero(made, _LEVELS)


@cache
def left_out_records() -> Counter:
    """Log lines that repeated others too often."""
    made = counter(
        "log_records_sampled_out_total",
        "Log lines that were left out, as their like was written often enough in the same second.",
        labels=("level",),
    )
    return _from_zero(made, _LEVELS)


@cache
def dropped_spans() -> Counter:
    """Spans that no collector took."""
    made = counter("starkeel_spans_dropped_total", "Spans that no collector took.", labels=("reason",))
    return _from_zero(made, ("queue_full", "unavailable", "refused", "rejected"))


@cache
def exported_spans() -> Counter:
    """Spans that a collector took."""
    return counter("starkeel_spans_exported_total", "Spans that a collector took.")


def _from_zero(made: Counter, values: Iterable[str]) -> Counter:
    """Have every series from the start: the first of one born at 1 is no increase to those who watch."""
    for value in values:
        made.labels(value)
    return made

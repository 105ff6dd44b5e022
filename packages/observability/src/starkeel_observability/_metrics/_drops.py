"""What telemetry had to let go of."""

from functools import cache

from prometheus_client import Counter

from . import counter


@cache
def dropped_records() -> Counter:
    """Log lines that were not written."""
    return counter("log_records_dropped_total", "Log lines that were not written.", labels=("level",))


@cache
def dropped_spans() -> Counter:
    """Spans that no collector took."""
    return counter("starkeel_spans_dropped_total", "Spans that no collector took.", labels=("reason",))


@cache
def exported_spans() -> Counter:
    """Spans that a collector took."""
    return counter("starkeel_spans_exported_total", "Spans that a collector took.")

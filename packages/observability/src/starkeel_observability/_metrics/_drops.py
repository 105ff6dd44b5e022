"""What telemetry had to let go of."""

from functools import cache

from prometheus_client import Counter

from . import counter


@cache
def dropped_records() -> Counter:
    """Log lines that were not written."""
    return counter("log_records_dropped_total", "Log lines that were not written.", labels=("level",))

"""What the database lacks, as a metric; see `_metrics` for why the import is late."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Gauge


@cache
def _pending() -> "Gauge":
    from prometheus_client import Gauge

    # Main and every worker look at the same database: who looked last is right.
    return Gauge(
        "db_migrations_pending", "Migrations that the database lacks.", multiprocess_mode="mostrecent"
    )


def tell_pending(count: int) -> None:
    """Set how many migrations the database was seen to lack."""
    _pending().set(count)

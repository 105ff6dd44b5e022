"""A pool that keeps a minimum open, closes what is idle or old, and hands out nothing that is dead."""

import logging
import random
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from .._base.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge

PING_AFTER_S = 5.0
"""Seconds unused after which a connection is tried before it is handed out: one that the other side closed is
known to be closed without asking, one that was lost on the way is not."""
_PING_TIMEOUT_S = 2.0
_JITTER = 0.1
WAITED_S = "starkeel_waited_s"
"""Where a connection says how long it was waited for, until somebody tells of it."""
_EXPIRES_AT, _USED_AT = "starkeel_expires_at", "starkeel_used_at"


def _nobody(_reason: str) -> None:
    """Nobody asked to be told."""


class ElasticPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool, with what it lacks: a minimum, an idle timeout, a lifetime that is spread.

    The connection used last is handed out first, so that those above what is needed get old unused.
    Whatever opens or closes connections here runs within SQLAlchemy's greenlet.
    """

    waiting = 0
    """Who waits for a connection."""
    timeouts = 0
    """How many have waited in vain."""
    lifetime_s = 1800.0
    """Seconds a connection lives at most."""
    tell: Callable[[str], None] = staticmethod(_nobody)
    """Who is told that the pool was empty for too long."""

    def _do_get(self) -> ConnectionPoolEntry:
        self.waiting += 1
        began = time.perf_counter()
        try:
            record = super()._do_get()
        except PoolTimeoutError as error:
            self.timeouts += 1
            reason = f"no connection was free within {self.timeout():g} s"
            self.tell(reason)
            raise DatabaseUnavailable(reason) from error
        finally:
            self.waiting -= 1
        record.info[WAITED_S] = time.perf_counter() - began
        return record

    @property
    def open(self) -> int:
        """How many connections there are."""
        return self.checkedin() + self.checkedout()

    def open_one(self) -> None:
        """Open a connection for later, if there is room for one."""
        if not self._inc_overflow():
            return
        try:
            record = self._create_connection()
        except BaseException:
            self._dec_overflow()
            raise
        _note_use(record)
        self._do_return_conn(record)

    def close_unneeded(self, *, minimum: int, idle_timeout_s: float) -> None:
        """Close idle connections that are dead, too old, or, above the minimum, unused for too long.

        Args:
            minimum: How many stay.
            idle_timeout_s: Seconds one above the minimum may be unused.
        """
        kept: list[ConnectionPoolEntry] = []
        unneeded: list[ConnectionPoolEntry] = []
        unused_since = time.monotonic() - idle_timeout_s
        idle = self._take_idle()
        # The longest unused last, as they lie: those are the first to go.
        while idle:
            record = idle.pop()
            above = self.open - len(unneeded) > minimum
            is_unused = above and record.info.get(_USED_AT, 0.0) <= unused_since
            (unneeded if is_unused or _is_unusable(record) else kept).append(record)
        # Back in before anything is waited for: no request sees the pool without them.
        for record in kept:
            self._do_return_conn(record)
        for _ in unneeded:
            self._dec_overflow()
        for record in unneeded:
            record.close()

    def idle_drivers(self) -> list[Any]:
        """The driver's own connections that nobody uses."""
        idle = self._take_idle()
        for record in reversed(idle):
            self._do_return_conn(record)
        return [record.driver_connection for record in idle if record.driver_connection is not None]

    def _take_idle(self) -> list[ConnectionPoolEntry]:
        return [self._pool.get(block=False) for _ in range(self.checkedin())]


def tend(pool: ElasticPool) -> None:
    """Have connections know their age, and be looked at before they are handed out."""
    _quieten()

    @event.listens_for(pool, "connect")
    def give_lifetime(_: Any, record: ConnectionPoolEntry) -> None:
        lifetime_s = pool.lifetime_s * random.uniform(1 - _JITTER, 1)  # noqa: S311 - nothing to guess
        record.info[_EXPIRES_AT] = time.monotonic() + lifetime_s
        _note_use(record)

    @event.listens_for(pool, "checkin")
    def note_use(_: Any, record: ConnectionPoolEntry) -> None:
        _note_use(record)

    @event.listens_for(pool, "checkout")
    def look(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        if _is_unusable(record) or not _answers(connection, record):
            # SQLAlchemy opens another in its place.
            raise DisconnectionError("the connection is too old, or dead")


def _quieten() -> None:
    """Keep the pool as quiet as SQLAlchemy keeps its other pools, unless someone asked for its lines."""
    logger = logging.getLogger(ElasticPool.__module__)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


def _note_use(record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()


def _is_unusable(record: ConnectionPoolEntry) -> bool:
    if time.monotonic() >= record.info.get(_EXPIRES_AT, float("inf")):
        return True
    is_closed = getattr(record.driver_connection, "is_closed", None)
    return bool(is_closed is not None and is_closed())


def _answers(connection: Any, record: ConnectionPoolEntry) -> bool:
    driver = record.driver_connection
    if not hasattr(driver, "fetchval") or time.monotonic() - record.info[_USED_AT] < PING_AFTER_S:
        return True
    try:
        connection.run_async(lambda asyncpg: asyncpg.fetchval("SELECT 1", timeout=_PING_TIMEOUT_S))
    except Exception:  # noqa: BLE001 - whatever it is, this connection is not the one to hand out
        return False
    return True


class _Metrics(NamedTuple):
    connections: "Gauge"
    maximum: "Gauge"
    idle_minimum: "Gauge"
    pending: "Gauge"
    timeouts: "Counter"


@cache
def _metrics() -> _Metrics:
    from prometheus_client import Counter, Gauge

    def gauge(name: str, text: str, *labels: str) -> "Gauge":
        return Gauge(f"db_client_connection_{name}", text, labels, multiprocess_mode="livesum")

    return _Metrics(
        gauge("count", "Connections of the pool.", "state"),
        gauge("max", "Connections that may be open."),
        gauge("idle_min", "Connections that are kept open while idle."),
        gauge("pending_requests", "Requests that wait for a connection."),
        Counter("db_client_connection_timeouts_total", "Requests that waited for a connection in vain."),
    )


class PoolMetrics:
    """Tells of one pool.

    Args:
        pool: Which.
        minimum: How many connections it keeps open.
    """

    def __init__(self, pool: ElasticPool, *, minimum: int) -> None:
        self._pool = pool
        self._minimum = minimum
        self._told_timeouts = 0

    def tell(self) -> None:
        """Set the metrics to what the pool is like."""
        metrics, pool = _metrics(), self._pool
        metrics.connections.labels(state="idle").set(pool.checkedin())
        metrics.connections.labels(state="used").set(pool.checkedout())
        metrics.maximum.set(pool.size())
        metrics.idle_minimum.set(self._minimum)
        metrics.pending.set(pool.waiting)
        metrics.timeouts.inc(pool.timeouts - self._told_timeouts)
        self._told_timeouts = pool.timeouts

    def clear(self) -> None:
        """Say that there is no pool any more."""
        metrics = _metrics()
        for state in ("idle", "used"):
            metrics.connections.labels(state=state).set(0)
        for gauge in (metrics.maximum, metrics.idle_minimum, metrics.pending):
            gauge.set(0)

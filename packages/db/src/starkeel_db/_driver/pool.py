"""Connection pool with a minimum size, an idle timeout and a jittered lifetime, and its metrics."""

import logging
import random
import time
from collections.abc import Callable, Hashable
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only

from .._base.errors import DatabaseUnavailable
from .._base.metrics import counter, gauge
from .._compat import ExtensiblePool
from .transactions import READ_ONLY
from .turns import Turns

PING_AFTER_S = 5.0
"""Seconds without use after which a connection is tested at checkout. The driver notices that a server closed
a connection, but not that it disappeared."""
_PING_TIMEOUT_S = 2.0
_JITTER = 0.1
WAITED_S = "starkeel_waited_s"
"""Key in a connection's `info`: seconds that its checkout waited, until they are recorded."""
_EXPIRES_AT, _USED_AT = "starkeel_expires_at", "starkeel_used_at"


class ElasticPool(ExtensiblePool):
    """SQLAlchemy's pool with a minimum size, an idle timeout and a jittered connection lifetime.

    Checkouts take the connection that was returned last, so that surplus connections stay idle and expire.
    Methods that open or close connections must run in SQLAlchemy's greenlet.
    """

    waiting = 0
    """Number of checkouts in progress."""
    timeouts = 0
    """Number of checkouts that timed out."""
    lifetime_s = 1800.0
    """Maximum lifetime of a connection in seconds."""
    on_timeout: Callable[[str], object] = staticmethod(lambda _: None)
    """Called with the reason when a checkout times out."""
    prefer_read_only = False
    """Whether the next checkout is for a read-only transaction: a hint, which saves a switch of the mode."""
    client: Hashable = None
    """The client of the next checkout: while none is free, clients get connections in turn."""
    _has_read_only = False

    def __init__(self, *args: Any, **options: Any) -> None:
        self._turns = Turns()
        super().__init__(*args, **options)

    def on_free(self) -> None:
        """Grant a turn for each free connection."""
        while self._free > 0 and self._turns.grant():
            pass

    @property
    def _free(self) -> int:
        return self.size() - self.checkedout() - self._turns.granted

    def _do_get(self) -> ConnectionPoolEntry:
        read_only, self.prefer_read_only = self.prefer_read_only, False
        client, self.client = self.client, None
        self._has_read_only |= read_only
        began = time.perf_counter()
        has_turn = self._free <= 0 or bool(self._turns)
        if has_turn:
            self._wait_for_turn(client)
        try:
            record = self._take_in_mode(read_only=read_only) if self._has_read_only else None
            record = record or self._take_any()
        finally:
            if has_turn:
                self._turns.granted -= 1
        record.info[WAITED_S] = time.perf_counter() - began
        return record

    def _wait_for_turn(self, client: Hashable) -> None:
        self.waiting += 1
        try:
            await_only(self._turns.wait(client, timeout_s=self.timeout()))
        except TimeoutError as error:
            raise self._timed_out() from error
        finally:
            self.waiting -= 1
            # A turn that was granted to a cancelled checkout is another one's.
            self.on_free()

    def _take_in_mode(self, *, read_only: bool) -> ConnectionPoolEntry | None:
        """Take the idle connection in the given mode that was returned last."""
        others: list[ConnectionPoolEntry] = []
        found = None
        while found is None and self.checkedin():
            record = self.take_idle()
            if record.info.get(READ_ONLY, False) is read_only:
                found = record
            else:
                others.append(record)
        for record in reversed(others):
            self.put(record)
        return found

    def _take_any(self) -> ConnectionPoolEntry:
        self.waiting += 1
        try:
            return super()._do_get()
        except PoolTimeoutError as error:
            raise self._timed_out() from error
        finally:
            self.waiting -= 1

    def _timed_out(self) -> DatabaseUnavailable:
        self.timeouts += 1
        reason = f"no connection was free within {self.timeout():g} s"
        self.on_timeout(reason)
        return DatabaseUnavailable(reason)

    @property
    def open(self) -> int:
        """Number of open connections."""
        return self.checkedin() + self.checkedout()

    def open_one(self) -> None:
        """Open an idle connection, unless the pool has its maximum size."""
        record = self.create()
        if record is not None:
            self.put(record)

    def close_unneeded(self, *, minimum: int, idle_timeout_s: float) -> None:
        """Close connections that are closed or expired, and above the minimum those idle for too long."""
        kept: list[ConnectionPoolEntry] = []
        unneeded: list[ConnectionPoolEntry] = []
        unused_since = time.monotonic() - idle_timeout_s
        idle = self._take_all_idle()
        # From the end: the connections that are idle the longest are closed first.
        while idle:
            record = idle.pop()
            above = self.open - len(unneeded) > minimum
            is_unused = above and record.info.get(_USED_AT, 0.0) <= unused_since
            (unneeded if is_unused or _is_unusable(record) else kept).append(record)
        # Return these before the first await, so that no checkout finds the pool empty.
        for record in kept:
            self.put(record)
        for _ in unneeded:
            self.forget()
        for record in unneeded:
            record.close()

    def idle_drivers(self) -> list[Any]:
        """Return the driver connections of idle connections."""
        idle = self._take_all_idle()
        for record in reversed(idle):
            self.put(record)
        return [record.driver_connection for record in idle if record.driver_connection is not None]

    def _take_all_idle(self) -> list[ConnectionPoolEntry]:
        return [self.take_idle() for _ in range(self.checkedin())]


def check_connections(pool: ElasticPool) -> None:
    """Give every connection a lifetime, and replace expired and dead connections at checkout."""
    logger = logging.getLogger(ElasticPool.__module__)
    if logger.level == logging.NOTSET:
        # SQLAlchemy's default level: the logger of this pool has a name of its own.
        logger.setLevel(logging.WARNING)

    @event.listens_for(pool, "connect")
    def set_lifetime(_: Any, record: ConnectionPoolEntry) -> None:
        lifetime_s = pool.lifetime_s * random.uniform(1 - _JITTER, 1)  # noqa: S311 - jitter
        record.info[_EXPIRES_AT] = time.monotonic() + lifetime_s
        record.info[_USED_AT] = time.monotonic()

    @event.listens_for(pool, "checkin")
    def note_use(_: Any, record: ConnectionPoolEntry) -> None:
        record.info[_USED_AT] = time.monotonic()

    @event.listens_for(pool, "checkout")
    def check(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        if _is_unusable(record) or not _is_alive(connection, record):
            # SQLAlchemy replaces the connection.
            raise DisconnectionError("the connection is too old, or dead")


def _is_unusable(record: ConnectionPoolEntry) -> bool:
    if time.monotonic() >= record.info.get(_EXPIRES_AT, float("inf")):
        return True
    is_closed = getattr(record.driver_connection, "is_closed", None)
    return bool(is_closed is not None and is_closed())


def _is_alive(connection: Any, record: ConnectionPoolEntry) -> bool:
    driver = record.driver_connection
    if not hasattr(driver, "fetchval") or time.monotonic() - record.info[_USED_AT] < PING_AFTER_S:
        return True
    try:
        connection.run_async(lambda asyncpg: asyncpg.fetchval("SELECT 1", timeout=_PING_TIMEOUT_S))
    except Exception:  # noqa: BLE001 - after any error the connection must be replaced
        return False
    return True


class PoolMetrics:
    """Metrics of a pool, named as in OpenTelemetry's semantic conventions."""

    def __init__(self, pool: ElasticPool, *, minimum: int) -> None:
        self._pool = pool
        self._minimum = minimum
        self._timeouts = counter(
            "db_client_connection_timeouts_total", "Requests that timed out waiting for a connection."
        )
        self._counted_timeouts = 0

    def update(self) -> None:
        """Set the metrics from the state of the pool."""
        pool = self._pool
        _set_gauges(pool.checkedin(), pool.checkedout(), pool.size(), self._minimum, pool.waiting)
        self._timeouts.inc(pool.timeouts - self._counted_timeouts)
        self._counted_timeouts = pool.timeouts

    def clear(self) -> None:
        """Set the gauges to zero when the pool is closed."""
        _set_gauges(0, 0, 0, 0, 0)


def _set_gauges(idle: int, used: int, maximum: int, minimum: int, pending: int) -> None:
    count = gauge("db_client_connection_count", "Open connections of the pool.", "livesum", "state")
    count.labels(state="idle").set(idle)
    count.labels(state="used").set(used)
    for name, text, value in (
        ("max", "Maximum number of connections.", maximum),
        ("idle_min", "Minimum number of connections, kept open while idle.", minimum),
        ("pending_requests", "Requests that wait for a connection.", pending),
    ):
        gauge(f"db_client_connection_{name}", text, "livesum").set(value)

"""Message relay: publishes events to a broker, at least once and in order for each key.

No transaction or lock is held while the relay waits for the broker: events are claimed in one transaction,
and the results are recorded in another. A claim is a time in `retry_at`, which also holds back later events
of the key; the claims of a relay that dies expire.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio
import structlog
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import Table, bindparam, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import Backoff

from .._base.errors import reason_of
from .._base.metrics import counter, gauge
from .._plugin import DatabasePlugin
from .._retention import unexpected
from .._session.unit_of_work import is_postgres
from .broker_memory import BrokerMemory
from .publishing import PUBLISH_S, Broker, BrokerUnavailableError, Round
from .writer import Event, Notifier, lock_number

log = structlog.get_logger(__name__)

MAX_ATTEMPTS: Final = 10
"""Refusals after which an event becomes a dead letter."""
_AT_ONCE: Final = 100
_AT_ONCE_CHARACTERS: Final = 2_000_000
"""Size of the claimed events after which no more are added: they exist several times in memory."""
_ROUND_S: Final = 2.0
_CLAIM_S: Final = 10.0
"""Seconds until other relays may publish claimed events; longer than a round, and clocks differ."""
_CHECK_EVERY_S: Final = 1.0
"""Seconds between questions for the broker's identity."""
_POLL_EVERY_S: Final = 0.5
_COUNT_EVERY_S: Final = 5.0
_BACKOFF: Final = Backoff(base_s=0.2, cap_s=30.0, jitter=0.5)
# A broker that is back, such as the new primary after a failover, receives events within two seconds.
_UNAVAILABLE_BACKOFF: Final = Backoff(base_s=0.2, cap_s=1.5, jitter=0.5)
# A refused event holds back later events of its key only.
_COLUMNS: Final = "position, key, kind, payload, traceparent, request_id, created_at"
_DUE_TEXT: Final = (
    f"SELECT {_COLUMNS} FROM ("  # noqa: S608 - constants
    "SELECT d.*, sum(length(payload)) OVER (ORDER BY position) - length(payload) AS before FROM ("
    "SELECT o.* FROM outbox AS o WHERE o.published_at IS NULL AND o.dead_at IS NULL AND NOT EXISTS ("
    "SELECT 1 FROM outbox AS b WHERE b.published_at IS NULL AND b.dead_at IS NULL"
    " AND b.key = o.key AND b.position <= o.position AND b.retry_at > :now)"
    " ORDER BY o.position LIMIT :at_once) AS d) AS sized WHERE before < :most ORDER BY position"
)
_TIME: Final = DateTimeUTC(timezone=True)
_DUE: Final = text(_DUE_TEXT).columns(created_at=_TIME)
_CLAIM: Final = text(
    f"WITH due AS MATERIALIZED ({_DUE_TEXT}) UPDATE outbox SET retry_at = :until FROM due"  # noqa: S608
    " WHERE outbox.position = due.position RETURNING due.*"
).columns(created_at=_TIME)
# With IN the text would depend on their number, and be prepared for each of them.
_THESE: Final = {
    True: "position = ANY(CAST(:positions AS bigint[]))",
    False: "position IN (SELECT value FROM json_each(:positions))",
}
_SET: Final = {
    (column, is_postgres): text(f"UPDATE outbox SET {column} = :at WHERE {these}").bindparams(  # noqa: S608
        bindparam("at", type_=_TIME)
    )
    for is_postgres, these in _THESE.items()
    for column in ("published_at", "retry_at")
}


class Relay:
    """Publishes pending events, in one process at a time.

    Args:
        database: Database of the outbox.
        table: The table of events.
        broker: The target.
        notifier: It is notified when this process has committed an event.
        memory: The broker's last identity, if it has one.
    """

    def __init__(
        self,
        database: DatabasePlugin,
        table: Table,
        broker: Broker,
        notifier: Notifier,
        *,
        memory: BrokerMemory | None,
    ) -> None:
        self._database = database
        self._table = table
        self._broker = broker
        self._notifier = notifier
        self._published = counter("outbox_published_total", "Events published.")
        self._failed = counter("outbox_failures_total", "Failed attempts to publish.", "reason")
        # Create the series at 0: `rate()` does not count the first sample of a series as an increase.
        for reason in ("away", "refused"):
            self._failed.labels(reason=reason)
        self._lock = lock_number(f"{table.name} relay")
        self._failures = 0
        self._backoff = _BACKOFF
        self._is_interrupted = False
        self._memory = memory
        self._identity = ""
        self._checked_at = float("-inf")

    async def run(self) -> None:
        """Publish until cancelled."""
        counted_at = float("-inf")
        while True:
            is_more = await self._attempt()
            if time.monotonic() - counted_at >= _COUNT_EVERY_S:
                counted_at = time.monotonic()
                with anyio.move_on_after(_ROUND_S, shield=True):
                    await self._count()
            if self._failures:
                await anyio.sleep(self._backoff.pause_s(self._failures - 1))
            elif not is_more:
                await self._notifier.wait(timeout_s=_POLL_EVERY_S)

    async def _attempt(self) -> bool:
        try:
            # A stop waits for the round, otherwise its events would be published again.
            with anyio.fail_after(_CLAIM_S, shield=True):
                is_more = await self._round()
        except (BrokerUnavailableError, TimeoutError) as error:
            if not self._is_interrupted:
                self._is_interrupted = True
                reason = str(error) or "the results were not recorded in time; the events are published again"
                log.warning("events not published", reason=reason)
            self._failed.labels(reason="away").inc()
            self._failures += 1
            self._backoff = _UNAVAILABLE_BACKOFF
            return False
        except Exception as error:
            # The database has logged an outage; claimed events are published again.
            if (found := unexpected(error)) is not None:
                log.error("events not published", reason=reason_of(error), exc_info=found)
            self._failures += 1
            self._backoff = _BACKOFF
            return False
        self._failures = 0
        return is_more

    async def _round(self) -> bool:
        """Publish a batch; return whether there may be more."""
        try:
            await self._check_broker()
        except BrokerUnavailableError:
            if not await self._is_due():
                return False
            raise
        events = await self._claim()
        if not events:
            return False
        failure: BrokerUnavailableError | None = None
        results = Round(self._broker)
        try:
            await results.publish(events)
        except BrokerUnavailableError as error:
            failure = error
        published = await self._record(events, results.published, results.refused)
        self._published.inc(len(published))
        if failure is not None:
            raise failure
        if self._is_interrupted and published:
            self._is_interrupted = False
            log.info("events published again")
        is_full = len(events) == _AT_ONCE or sum(len(each.payload) for each in events) >= _AT_ONCE_CHARACTERS
        return is_full and bool(published)

    async def _is_due(self) -> bool:
        async with self._database.session(reads_only=True) as session:
            rows = await session.execute(_DUE, {"now": datetime.now(UTC), "at_once": 1, "most": 1})
            return rows.first() is not None

    async def _claim(self) -> list[Event]:
        """Return the next events, which no other relay publishes for `_CLAIM_S`."""
        now = datetime.now(UTC)
        async with self._database.session() as session:
            # Of concurrent claims the later must not skip the events of the earlier one. On SQLite the
            # transaction holds the write lock.
            values = {"now": now, "at_once": _AT_ONCE, "most": _AT_ONCE_CHARACTERS}
            until = now + timedelta(seconds=_CLAIM_S)
            if is_postgres(session):
                if not await session.scalar(select(func.pg_try_advisory_xact_lock(self._lock))):
                    return []
                rows = await session.execute(_CLAIM, {**values, "until": until})
                return sorted(Event(*row) for row in rows)
            events = [Event(*row) for row in await session.execute(_DUE, values)]
            if events:
                await self._set(session, "retry_at", [event.position for event in events], until)
        return events

    async def _check_broker(self) -> None:
        """Let events be published again, before later ones, if another broker may lack them."""
        identity = getattr(self._broker, "identity", None)
        if identity is None or self._memory is None:
            return
        if time.monotonic() - self._checked_at < _CHECK_EVERY_S:
            return
        queried_at = datetime.now(UTC)
        try:
            async with asyncio.timeout(PUBLISH_S):
                found: str = await identity()
        except TimeoutError as error:
            raise BrokerUnavailableError("the broker does not answer") from error
        again = await self._memory.confirm(found, queried_at=queried_at) if found else None
        self._identity, self._checked_at = found, time.monotonic()
        if again is not None:
            log.warning("broker changed", reason="the last events are published again", events=again)

    async def _record(
        self, claimed: Sequence[Event], published: list[int], refused: dict[Event, Exception]
    ) -> list[int]:
        """Record the results; return the positions of the events that are published for good."""
        table, now = self._table, datetime.now(UTC)
        async with self._database.session() as session:
            if published and not await self._is_broker_of_all(session):
                # They are published again at once: the broker that another relay has found may lack them.
                published, self._checked_at = [], float("-inf")
            if published:
                await self._set(session, "published_at", published, now)
            for event, error in refused.items():
                self._failed.labels(reason="refused").inc()
                is_this = table.c.position == event.position
                count = update(table).where(is_this).values(attempts=table.c.attempts + 1)
                attempts = (await session.execute(count.returning(table.c.attempts))).scalar_one()
                values = {"retry_at": now + timedelta(seconds=_BACKOFF.pause_s(attempts - 1))}
                if attempts >= MAX_ATTEMPTS:
                    values = {"dead_at": now}
                    log.error("event put aside", position=event.position, kind=event.kind, error=repr(error))
                await session.execute(update(table).where(is_this).values(values))
            done_with = {*published, *(event.position for event in refused)}
            left = [event.position for event in claimed if event.position not in done_with]
            if left:
                await self._set(session, "retry_at", left, None)
        return published

    async def _is_broker_of_all(self, session: AsyncSession) -> bool:
        if self._memory is None or not self._identity:
            return True
        return await self._memory.is_last(session, self._identity)

    async def _set(
        self, session: AsyncSession, column: str, positions: list[int], at: datetime | None
    ) -> None:
        has_arrays = is_postgres(session)
        values = {"at": at, "positions": positions if has_arrays else json.dumps(positions)}
        await session.execute(_SET[column, has_arrays], values)

    async def _count(self) -> None:
        columns = self._table.c
        is_dead = columns.dead_at.is_not(None)
        counts = select(
            func.count().filter(~is_dead),
            func.count().filter(is_dead),
            func.min(columns.created_at).filter(~is_dead),
        ).where(columns.published_at.is_(None))
        try:
            async with self._database.session(reads_only=True) as session:
                pending, dead, oldest = (await session.execute(counts)).one()
        except Exception as error:
            if (found := unexpected(error)) is not None:
                log.error("pending events not counted", reason=reason_of(error), exc_info=found)
            return
        age_s = 0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds())
        for name, help_text, value in (
            ("pending", "Events that are not published yet.", pending),
            ("dead_letters", "Events that the broker refused too often (dead letters).", dead),
            ("oldest_pending_seconds", "Age of the oldest event that is not published yet.", age_s),
        ):
            # All workers count the same rows.
            gauge(f"outbox_{name}", help_text, "mostrecent").set(value)

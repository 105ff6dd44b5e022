"""Receives the events of a topic: enqueues a job for each of its handlers.

One process at a time receives a topic; its lease is a row of the database, which also has the position. Jobs
and position are written in one transaction, in which the lease is checked: an event is received once,
whatever process dies when.
"""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from secrets import token_hex
from typing import Any, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starkeel_config import Backoff
from starkeel_db import BrokerUnavailableError, DatabasePlugin, DatabaseUnavailable
from starkeel_jobs import JobRequest, JobsPlugin

from ._brokers.base import BrokerClient, Entry, Lag
from ._cloud_event import MalformedEventError, decode
from ._events import EventHandler, handlers_by_type
from ._metrics import consumer_metrics
from ._tables import LeaseLostError, Topics

log = structlog.get_logger(__name__)

_LIMIT: Final = 200
"""Number of events that are received in one transaction."""
_WAIT_S: Final = 1.0
_CHECK_EVERY_S: Final = 1.0
_MEASURE_EVERY_S: Final = 5.0
_REWIND_S: Final = 300.0
"""Seconds by which the reading goes back when another server takes the broker's place."""
_NO_LAG: Final = Lag(0, 0.0)
"""The lag of a process that does not receive the topic: the process that does reports it."""
_AWAY: Final = Backoff(base_s=0.2, cap_s=2.0, jitter=0.5)


class Reader:
    """Receives the events of one topic while this process has its lease.

    Args:
        topic: The topic.
        handlers: Functions that handle its events.
        client: The broker.
        database: Database with the position, the lease and the jobs.
        topics: Statements on positions and leases.
        jobs: Executes the handlers.
        lease_s: Seconds after which another process may take the lease of one that has died.
    """

    def __init__(
        self,
        topic: str,
        handlers: Sequence[EventHandler[Any]],
        *,
        client: BrokerClient,
        database: DatabasePlugin,
        topics: Topics,
        jobs: JobsPlugin,
        lease_s: float,
    ) -> None:
        self._topic = topic
        self._handlers = handlers_by_type(handlers)
        self._client = client
        self._database = database
        self._topics = topics
        self._jobs = jobs
        self._lease_s = lease_s
        self._holder = f"{socket.gethostname()[:60]}-{os.getpid()}-{token_hex(4)}"
        self._metrics = consumer_metrics()
        self._stopping = asyncio.Event()
        self._is_interrupted = False
        self._broker = ""
        self._checked_at = self._measured_at = float("-inf")
        self._lost_after: str | None = None
        self._rewound: str | None = None

    async def run(self) -> None:
        """Receive events until `stop`."""
        failures = 0
        while not self._stopping.is_set():
            try:
                await self._hold_and_receive()
            except (BrokerUnavailableError, DatabaseUnavailable, SQLAlchemyError, TimeoutError) as error:
                self._report_interruption(error)
                failures += 1
                await self._pause(_AWAY.pause_s(failures - 1))
            except Exception as error:
                log.exception("events not received", topic=self._topic, error=type(error).__name__)
                failures += 1
                await self._pause(_AWAY.pause_s(failures - 1))
            else:
                failures = 0
        await self._release()
        self._report_lag(_NO_LAG)

    def stop(self) -> None:
        """Receive no more events; `run` ends after those that are being received."""
        self._stopping.set()

    async def _hold_and_receive(self) -> None:
        """Receive while this process has the lease; wait a while if another one has it."""
        async with self._database.session() as session:
            await self._topics.add(session, self._topic)
            held = await self._topics.hold(session, self._topic, holder=self._holder, lease_s=self._lease_s)
        if held is None:
            self._report_lag(_NO_LAG)
            await self._pause(self._lease_s / 4)
            return
        position, self._broker = held
        self._checked_at = self._measured_at = float("-inf")
        try:
            await self._receive_after(position)
        except LeaseLostError:
            log.warning(
                "topic lost",
                topic=self._topic,
                reason="another process receives its events, or a replay has moved its position",
            )
            self._report_lag(_NO_LAG)

    async def _receive_after(self, position: str) -> None:
        while not self._stopping.is_set():
            position = await self._checked(position)
            self._report_recovery()
            await self._measure(position)
            batch = await self._client.read(self._topic, after=position, limit=_LIMIT, wait_s=_WAIT_S)
            if batch.has_gap:
                self._report_lost(position, batch.entries[-1].position if batch.entries else None)
            position = await self._receive(batch.entries, position)

    async def _checked(self, position: str) -> str:
        """Return a position from before if another server has taken the broker's place."""
        if time.monotonic() - self._checked_at < _CHECK_EVERY_S:
            return position
        identity = await self._client.identity(self._topic, is_own=False) or self._broker
        if self._broker and identity != self._broker:
            log.warning("broker changed", topic=self._topic, reason="events are received again from before")
            self._rewound = position = self._client.rewound(position, seconds=_REWIND_S)
        self._broker, self._checked_at = identity, time.monotonic()
        return position

    async def _receive(self, entries: Sequence[Entry], position: str) -> str:
        """Enqueue the jobs for events and record their position, in one transaction; return the position."""
        requests = [request for entry in entries for request in self._requests(entry)]
        position = entries[-1].position if entries else position
        async with self._database.session() as session:
            # First: another process that took the lease has waited for this lock or holds it.
            await self._topics.move(
                session,
                self._topic,
                holder=self._holder,
                lease_s=self._lease_s,
                position=position,
                broker=self._broker,
            )
            if requests:
                await self._jobs.enqueue_all(session, requests)
        if entries:
            self._metrics.received.labels(topic=self._topic).inc(len(entries))
        return position

    def _requests(self, entry: Entry) -> list[JobRequest]:
        try:
            event = decode(entry.body)
        except MalformedEventError as error:
            self._metrics.failures.labels(topic=self._topic, reason="malformed").inc()
            log.error("event is malformed", topic=self._topic, position=entry.position, reason=str(error))
            return []
        return [handler.request(event) for handler in self._handlers.get(event.type, ())]

    async def _measure(self, position: str) -> None:
        if time.monotonic() - self._measured_at < _MEASURE_EVERY_S:
            return
        self._measured_at = time.monotonic()
        lag = await self._client.lag(self._topic, after=position)
        self._report_lag(lag)
        if lag.has_gap:
            self._report_lost(position, None)

    def _report_lag(self, lag: Lag) -> None:
        self._metrics.lag.labels(topic=self._topic).set(lag.waiting)
        self._metrics.oldest_s.labels(topic=self._topic).set(lag.oldest_s)

    def _report_lost(self, after: str, before: str | None) -> None:
        # After going back, what is missing was received before, or is on the other server only.
        if after in {self._rewound, self._lost_after}:
            return
        self._lost_after = after
        self._metrics.failures.labels(topic=self._topic, reason="lost").inc()
        log.error(
            "events lost",
            topic=self._topic,
            reason="the broker deleted them before they were received: raise BROKER_KEPT_EVENTS or _HOURS",
            after=after,
            before=before,
        )

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(_WAIT_S), self._database.session() as session:
                await self._topics.release(session, self._topic, holder=self._holder)
        except (DatabaseUnavailable, SQLAlchemyError, TimeoutError) as error:
            log.warning("topic not released", topic=self._topic, error=type(error).__name__)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _report_interruption(self, error: Exception) -> None:
        if not self._is_interrupted:
            self._is_interrupted = True
            is_known = isinstance(error, BrokerUnavailableError)
            reason = str(error) if is_known else type(error).__name__
            log.warning("events not received", topic=self._topic, reason=reason)

    def _report_recovery(self) -> None:
        if self._is_interrupted:
            self._is_interrupted = False
            log.info("events received again", topic=self._topic)

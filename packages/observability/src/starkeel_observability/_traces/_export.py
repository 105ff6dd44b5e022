"""Spans on their way to a collector: a bounded queue, and a thread that sends what is in it."""

import threading
import time
from collections import deque
from contextlib import suppress
from itertools import repeat
from typing import Final

import structlog
from prometheus_client import Counter

from starkeel_observability._metrics._drops import dropped_spans, exported_spans

from ._encode import request
from ._recorded import RecordedSpan, Scope
from ._sending import Outcome, Sender, backoff_s

log = structlog.get_logger(__name__)

_SELDOM_S: Final = 60.0
_SHORTEST_S: Final = 0.1


class Exporter:
    """Takes spans that have ended and sends them in the background.

    Args:
        send: How.
        resource: Whose spans they are, as `_encode.resource` has it.
        most_waiting: Spans that wait at most; older ones are dropped for newer ones.
        most_sent: Spans in one request.
        every_s: Seconds between two requests, unless there are enough for one before.
        timeout_s: Seconds until a request that the collector did not take is given up.
    """

    def __init__(
        self,
        send: Sender,
        resource: bytes,
        *,
        most_waiting: int,
        most_sent: int,
        every_s: float,
        timeout_s: float,
    ) -> None:
        self._send = send
        self._resource = resource
        self._most_waiting = most_waiting
        self._most_sent = most_sent
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._waiting: deque[tuple[Scope, bytes]] = deque()
        self._overflowed = 0
        self._published = 0
        self._full = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._told_at = 0.0
        self._dropped: Counter = dropped_spans()
        self._exported: Counter = exported_spans()
        self._thread = threading.Thread(target=self._run, name="span-exporter", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def take(self, span: RecordedSpan) -> None:
        """Take a span that has ended; never waits for the collector, and never fails."""
        try:
            # Here, not in the thread: what a span refers to need not be kept until it is sent.
            encoded = span.encoded()
        except Exception:
            log.exception("span not sent")
            return
        self.put(span.origin.scope, [encoded])

    def put(self, scope: Scope, encoded: list[bytes]) -> None:
        """Take spans that were written down; never waits for the collector.

        Args:
            scope: Who made them.
            encoded: What `_encode.span` gives.
        """
        waiting = self._waiting
        waiting.extend(zip(repeat(scope), encoded))
        if len(waiting) > self._most_waiting:
            self._make_room()
        if len(waiting) >= self._most_sent and not self._wake.is_set():
            self._wake.set()

    def stop(self, *, timeout_s: float) -> bool:
        """Send what is left; whether it was done in time.

        Args:
            timeout_s: Seconds it may take.
        """
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _make_room(self) -> None:
        # Who sends may have taken the last one meanwhile.
        with self._full, suppress(IndexError):
            while len(self._waiting) > self._most_waiting:
                self._waiting.popleft()
                self._overflowed += 1

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._every_s)
            self._wake.clear()
            try:
                self._send_waiting()
            except Exception:
                # What is left must still be sent.
                log.exception("spans not sent")

    def _send_waiting(self) -> None:
        self._publish()
        # All that wait now, in full batches; those that come meanwhile have time.
        left = len(self._waiting)
        while left > 0 or (self._stopping.is_set() and self._waiting):
            batch = self._next()
            left -= max(1, len(batch))
            if batch:
                self._deliver(batch)

    def _next(self) -> list[tuple[Scope, bytes]]:
        batch: list[tuple[Scope, bytes]] = []
        take, next_one = batch.append, self._waiting.popleft
        # Without the lock, which a process that is forked meanwhile would inherit.
        with suppress(IndexError):
            for _ in range(self._most_sent):
                take(next_one())
        return batch

    def _deliver(self, batch: list[tuple[Scope, bytes]]) -> None:
        body = request(batch, self._resource)
        until = time.monotonic() + self._timeout_s
        attempt = 0
        while True:
            left_s = max(_SHORTEST_S, until - time.monotonic())
            outcome = self._send(body, timeout_s=left_s)
            if outcome.error is None:
                self._exported.inc(len(batch) - outcome.rejected)
                self._drop("rejected", outcome.rejected)
                return
            pause_s = backoff_s(attempt) if outcome.after_s is None else outcome.after_s
            attempt += 1
            # Who asks to be left alone is tried once more after that, however long it takes.
            is_in_time = time.monotonic() + pause_s < until or (outcome.after_s is not None and attempt == 1)
            if not (outcome.is_worth_retrying and is_in_time and self._paused(pause_s)):
                self._give_up(batch, outcome)
                return

    def _paused(self, pause_s: float) -> bool:
        """Wait before another attempt; whether there is to be one."""
        until = time.monotonic() + pause_s
        while not self._stopping.wait(max(0.0, min(1.0, until - time.monotonic()))):
            self._publish()
            if time.monotonic() >= until:
                return True
        return False

    def _give_up(self, batch: list[tuple[Scope, bytes]], outcome: Outcome) -> None:
        self._drop("unavailable" if outcome.is_worth_retrying else "refused", len(batch))
        now = time.monotonic()
        if not self._told_at or now - self._told_at >= _SELDOM_S:
            self._told_at = now
            log.warning("spans dropped", count=len(batch), error=outcome.error)

    def _publish(self) -> None:
        overflowed = self._overflowed
        self._drop("queue_full", overflowed - self._published)
        self._published = overflowed

    def _drop(self, reason: str, count: int) -> None:
        if count > 0:
            self._dropped.labels(reason).inc(count)

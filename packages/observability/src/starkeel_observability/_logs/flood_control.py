"""Log flood control: limits and counts repeated warnings and errors, so that a flood cannot fill a disk."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from .._config.log_levels import level_name

SAMPLE_EVERY: Final = 100
"""Above the limit, every hundredth line is still written, as a sample."""
ERROR_FACTOR: Final = 5
"""Factor of the limit for errors."""
_MAX_KEYS: Final = 1000
_MAX_MESSAGE: Final = 200
_REPORT_S: Final = 1.0
_WARNING: Final = 30
_ERROR: Final = 40


class MessageKey(NamedTuple):
    """Identifies repeated lines; their fields may differ."""

    target: str
    level: str
    message: str


Suppressed = Counter[MessageKey]


class FloodControl:
    """Decides whether a line is written, and reports once per second how many were not.

    Args:
        limit: Warnings per second for each key; 0 disables the limit.
        report: Called with the suppressed lines; in a thread of its own.
    """

    def __init__(self, limit: int, report: Callable[[Suppressed], None]) -> None:
        self._limit = limit
        self._report = report
        self._lock = threading.RLock()
        self._second = 0
        self._counts: dict[MessageKey, int] = {}
        self._suppressed: Suppressed = Counter()
        self._due = 0.0

    def admits(self, target: str, level: int, message: object) -> bool:
        """Return whether to write a line with a message, given before interpolation."""
        if level < _WARNING or not self._limit:
            return True
        text = message[:_MAX_MESSAGE] if isinstance(message, str) else type(message).__name__
        key, now = MessageKey(target, level_name(level), text), time.monotonic()
        with self._lock:
            key, number = self._count(key, int(now))
            excess = number - self._limit * (ERROR_FACTOR if level >= _ERROR else 1)
            if excess <= 0 or excess % SAMPLE_EVERY == 0:
                return True
            self._suppressed[key] += 1
            # A report that is overdue was lost in a fork.
            must_report = now > self._due + _REPORT_S
            if must_report:
                self._due = now + _REPORT_S
        if must_report:
            self._schedule_report()
        return False

    def flush(self) -> None:
        with self._lock:
            suppressed, self._suppressed = self._suppressed, Counter()
            self._due = 0.0
        if suppressed:
            self._report(suppressed)

    def close(self) -> None:
        """Report the suppressed lines and suppress none from now on, as a later report may be lost."""
        self._limit = 0
        self.flush()

    def _count(self, key: MessageKey, second: int) -> tuple[MessageKey, int]:
        counts = self._counts
        if second != self._second:
            self._second = second
            counts.clear()
        if key not in counts and len(counts) >= _MAX_KEYS:
            # A flood of distinct messages shares one limit.
            key = key._replace(message="")
        number = counts[key] = counts.get(key, 0) + 1
        return key, number

    def _schedule_report(self) -> None:
        try:
            timer = threading.Timer(_REPORT_S, self.flush)
            timer.daemon = True
            timer.start()
        except RuntimeError:
            # The interpreter is shutting down and cannot start threads; `close` reports.
            return

"""Lines that repeat themselves: in a storm most are left out, and counted, so that it cannot fill a disk."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from .._config.log_levels import level_name

EVERY: Final = 100
"""Of what is too much, each hundredth is written all the same: it shows that it goes on, and with what."""
ERRORS: Final = 5
"""Times as many lines at ERROR are written."""
_MOST_KINDS: Final = 1000
_LONGEST: Final = 200
_REPORT_S: Final = 1.0
_ERROR: Final = 40


class MessageKey(NamedTuple):
    """Lines that are alike: what they are about differs, what they say does not."""

    target: str
    level: str
    message: str


Suppressed = Counter[MessageKey]


class FloodControl:
    """Decides whether a line is written, and tells once a second what was not.

    Args:
        most: Lines of a kind that are written in a second; 0 for all.
        report: Called with what was left out; in a thread of its own, while lines are left out.
    """

    def __init__(self, most: int, report: Callable[[Suppressed], None]) -> None:
        self._most = most
        self._report = report
        self._lock = threading.RLock()
        self._second = 0
        self._seen: dict[MessageKey, int] = {}
        self._left_out: Suppressed = Counter()
        self._due = 0.0

    def admits(self, target: str, level: int, message: object) -> bool:
        """Whether a line is to be written.

        Args:
            target: Name of the logger.
            level: As the standard library's numbers.
            message: What it says, before what differs was put in.
        """
        if not self._most:
            return True
        text = message[:_LONGEST] if isinstance(message, str) else type(message).__name__
        kind, now = MessageKey(target, level_name(level), text), time.monotonic()
        with self._lock:
            number = self._counted(kind, int(now))
            over = number - self._most * (ERRORS if level >= _ERROR else 1)
            if over <= 0 or over % EVERY == 0:
                return True
            self._left_out[kind] += 1
            # One that is overdue was lost in a fork.
            must_report = now > self._due + _REPORT_S
            if must_report:
                self._due = now + _REPORT_S
        if must_report:
            self._report_soon()
        return False

    def flush(self) -> None:
        """Tell now what was left out since it was told last."""
        with self._lock:
            left_out, self._left_out = self._left_out, Counter()
            self._due = 0.0
        if left_out:
            self._report(left_out)

    def close(self) -> None:
        """Tell what was left out, and leave nothing out from now on: nobody may be there to tell of it."""
        self._most = 0
        self.flush()

    def _counted(self, kind: MessageKey, second: int) -> int:
        seen = self._seen
        if second != self._second:
            self._second = second
            seen.clear()
        if kind not in seen and len(seen) >= _MOST_KINDS:
            # Messages that are never the same are a kind, too.
            kind = kind._replace(message="")
        number = seen[kind] = seen.get(kind, 0) + 1
        return number

    def _report_soon(self) -> None:
        try:
            timer = threading.Timer(_REPORT_S, self.flush)
            timer.daemon = True
            timer.start()
        except RuntimeError:
            # The interpreter ends and starts no threads any more: whoever closes the log tells the rest.
            return

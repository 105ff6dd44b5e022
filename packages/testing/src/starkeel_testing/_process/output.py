"""What a process says, as it says it."""

import json
from collections.abc import Callable
from threading import Condition
from typing import IO, Any


class Output:
    """Lines of a process' stdout and stderr, and those of stdout that are log lines."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._lines: list[str] = []
        self._logs: list[dict[str, Any]] = []
        self._open = 2

    def read(self, stream: IO[str], *, has_logs: bool) -> None:
        """Collect a stream to its end; what is no log line is kept as text alone."""
        for line in stream:
            entry = _log_line(line) if has_logs else None
            with self._changed:
                self._lines.append(line)
                if entry is not None:
                    self._logs.append(entry)
                self._changed.notify_all()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def text(self) -> str:
        """Return everything said so far, in the order of arrival."""
        with self._changed:
            return "".join(self._lines)

    def logs(self) -> list[dict[str, Any]]:
        """Return the log lines so far."""
        with self._changed:
            return list(self._logs)

    def wait_for_log(
        self, predicate: Callable[[dict[str, Any]], bool], *, timeout_s: float
    ) -> dict[str, Any] | None:
        """Return the first log line that matches; None when it does not come in time, or can come no more."""
        seen = 0
        found: dict[str, Any] | None = None

        def is_over() -> bool:
            nonlocal seen, found
            fresh, seen = self._logs[seen:], len(self._logs)
            found = next((line for line in fresh if predicate(line)), None)
            return found is not None or self._open == 0

        with self._changed:
            self._changed.wait_for(is_over, timeout_s)
        return found


def _log_line(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry.get("message"), str) else None

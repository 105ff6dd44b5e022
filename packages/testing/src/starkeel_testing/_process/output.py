"""Output of a process, collected while it runs."""

import json
from collections.abc import Callable
from threading import Condition
from typing import IO, Any


class Output:
    """Lines of a process's stdout and stderr, and the log lines of its stdout."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._lines: list[str] = []
        self._logs: list[dict[str, Any]] = []
        self._open_streams = 2

    def read(self, stream: IO[str], *, has_logs: bool) -> None:
        """Collect a stream to its end."""
        for line in stream:
            entry = _log_line(line) if has_logs else None
            with self._changed:
                self._lines.append(line)
                if entry is not None:
                    self._logs.append(entry)
                self._changed.notify_all()
        with self._changed:
            self._open_streams -= 1
            self._changed.notify_all()

    def text(self) -> str:
        """Return all output so far, in the order of arrival."""
        with self._changed:
            return "".join(self._lines)

    def logs(self) -> list[dict[str, Any]]:
        """Return the log lines so far."""
        with self._changed:
            return list(self._logs)

    def wait_for_log(
        self, predicate: Callable[[dict[str, Any]], bool], *, timeout_s: float
    ) -> dict[str, Any] | None:
        """Return the first matching log line; `None` after the timeout or when both streams have ended."""
        checked = 0
        match: dict[str, Any] | None = None

        def is_over() -> bool:
            nonlocal checked, match
            new, checked = self._logs[checked:], len(self._logs)
            match = next((line for line in new if predicate(line)), None)
            return match is not None or self._open_streams == 0

        with self._changed:
            self._changed.wait_for(is_over, timeout_s)
        return match


def _log_line(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry.get("message"), str) else None

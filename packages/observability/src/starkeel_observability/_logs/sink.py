"""Log sink: the single path by which log lines leave the process, with flood control."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from .._config.log_levels import SEVERITIES, severity_of
from .._config.settings import TelemetrySettings
from .record import RESERVED, LogRecord, json_line, line_fields, visible
from .writer import LineWriter

ACCESS_LOGGER: Final = "starkeel_observability.access"
SAMPLE_EVERY: Final = 100
"""Above the limit, every hundredth line is still written."""
ERROR_FACTOR: Final = 5
"""Factor of the limit for errors."""
_MAX_KEYS: Final = 1000
_MAX_MESSAGE: Final = 200
_REPORT_S: Final = 1.0
_WARNING: Final = 30
_ERROR: Final = 40
_MAX_REPORTED: Final = 5
# ANSI codes.
_DIM, _BOLD = 2, 1
_LONG_LIST: Final = 100
"""Characters from which a list has one line for each item."""
_COLOURS: Final = {"TRACE": 35, "DEBUG": 34, "INFO": 32, "WARN": 33, "ERROR": 31}


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
        key, now = MessageKey(target, SEVERITIES[severity_of(level)], text), time.monotonic()
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


class LogSink:
    """Renders records and writes them; never raises."""

    def __init__(self, writer: LineWriter, settings: TelemetrySettings) -> None:
        self._writer = writer
        self.service = settings.service_name
        self.version = settings.version
        self.is_json = settings.log_format == "json" or (
            settings.log_format == "auto" and not writer.is_terminal
        )
        self.write, self.flush = writer.write, writer.flush
        self._render: Callable[[dict[str, Any]], bytes] = (
            json_line if self.is_json else partial(pretty_line, colours=writer.is_terminal)
        )
        self._flood_control = FloodControl(settings.log_repeats_per_second, self._report_suppressed)
        self.on_suppressed: Callable[[Mapping[str, int]], object] = dict
        """Called with the number of newly suppressed lines by level."""
        writer.render_dropped = self._render_dropped

    def send(self, record: LogRecord) -> None:
        """Write a record as a line, unless flood control suppresses it: access log lines are exempt."""
        if record.target == ACCESS_LOGGER or self._flood_control.admits(
            record.target, record.level, record.message if record.pattern is None else record.pattern
        ):
            self._send(record)

    def _send(self, record: LogRecord) -> None:
        try:
            line = self._line(record)
        except Exception as error:  # noqa: BLE001 - a log call never raises
            record = replace(record, message="log event could not be written", error=None)
            record.level, record.fields = max(record.level, _WARNING), {"error": type(error).__name__}
            line = self._line(record)
        self._writer.write(record.level, line)

    def close(self, *, timeout_s: float) -> None:
        """Flush, now and after each later line; takes up to `timeout_s` seconds."""
        self._flood_control.close()
        self._writer.close(timeout_s=timeout_s)

    def _report_suppressed(self, suppressed: Suppressed) -> None:
        levels: Counter[str] = Counter()
        for key, number in suppressed.items():
            levels[key.level] += number
        self.on_suppressed(levels)
        most = [{**key._asdict(), "count": number} for key, number in suppressed.most_common(_MAX_REPORTED)]
        fields = {"count": suppressed.total(), "levels": dict(levels), "most": most}
        self._send(_warning("log lines left out", fields))

    def _render_dropped(self, counts: Mapping[str, int]) -> bytes:
        fields = {"count": sum(counts.values()), "levels": dict(counts)}
        return self._line(_warning("log lines dropped", fields))

    def _line(self, record: LogRecord) -> bytes:
        return self._render(line_fields(record, service=self.service, version=self.version))


def _warning(message: str, fields: Mapping[str, Any]) -> LogRecord:
    return LogRecord(
        level=_WARNING, target="starkeel_observability", message=message, fields=fields, file=__file__, line=0
    )


def pretty_line(line: dict[str, Any], *, colours: bool) -> bytes:
    """Return the fields of a line as text.

    Args:
        line: Fields of a line of the JSON format.
        colours: Whether to use ANSI colours.

    Raises:
        KeyError: A field is missing that every line has.
    """

    def paint(text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colours else text

    level = line["level"]
    fields = [(name, value) for name, value in line.items() if name not in {*RESERVED, "traceback"}]
    fields += [(name, line[name]) for name in ("request_id", "trace_id") if name in line]
    lists = [(name, value) for name, value in fields if _is_long_list(value)]
    fields = [field for field in fields if field not in lists]
    parts = [
        # UTC, as in the JSON format.
        paint(line["timestamp"][11:23], _DIM),
        paint(f"{level:<5}", _COLOURS[level]),
        paint(visible(line["message"]), _BOLD),
        *(f"{paint(visible(name) + '=', _DIM)}{_value(value)}" for name, value in fields),
        paint(f"({visible(line['target'])} {line['file']}:{line['line']})", _DIM),
    ]
    width = max((len(visible(name)) for name, _ in lists), default=0)
    below = [
        f"\n  {paint(visible(name).ljust(width), _DIM)}  "
        f"{visible(item if isinstance(item, str) else _value(item))}"
        for name, items in lists
        for item in items
    ]
    for stack in (line.get("exception", {}).get("stack"), line.get("traceback")):
        if not isinstance(stack, str):
            continue
        below.append("\n" + paint("\n".join(map(visible, stack.split("\n"))), _COLOURS["ERROR"]))
    return ("".join([" ".join(parts), *below]) + "\n").encode()


def _is_long_list(value: Any) -> bool:
    """Return whether a list needs one line for each item to be readable."""
    return isinstance(value, (list, tuple)) and len(str(value)) > _LONG_LIST


def _value(value: Any) -> str:
    if isinstance(value, str) and value and " " not in value:
        return visible(value)
    return visible(msgspec.json.encode(value).decode())

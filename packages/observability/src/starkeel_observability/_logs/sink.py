"""Log sink: the single path by which log lines leave the process."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from .flood_control import FloodControl, Suppressed
from .record import LogRecord, line_fields
from .render import json_line, pretty_line
from .writer import LineWriter

Format = Literal["json", "pretty"]
ACCESS_LOGGER: Final = "starkeel_observability.access"
_MAX_REPORTED: Final = 5


class LogSink:
    """Renders records and writes them; never raises."""

    def __init__(
        self, writer: LineWriter, form: Format, *, service: str, version: str, repeats_per_second: int = 0
    ) -> None:
        self._writer = writer
        self.service = service
        self.version = version
        self.is_json = form == "json"
        self.write = writer.write
        self._render: Callable[[dict[str, Any]], bytes] = (
            json_line if form == "json" else pretty_line(colours=writer.is_terminal)
        )
        self._flood_control = FloodControl(repeats_per_second, self._report_suppressed)
        self.on_suppressed: Callable[[Mapping[str, int]], None] = _ignore
        """Called with the number of newly suppressed lines by level."""
        writer.render_dropped = self._render_dropped

    def send(self, record: LogRecord) -> None:
        """Write a record as a line, unless flood control suppresses it."""
        # Access log lines are exempt: every request has its line.
        if record.target == ACCESS_LOGGER or self._flood_control.admits(
            record.target, record.level, record.message if record.pattern is None else record.pattern
        ):
            self._send(record)

    def _send(self, record: LogRecord) -> None:
        try:
            line = self._line(record)
        except Exception as error:  # noqa: BLE001 - a log call never raises
            line = self._line(_unwritable(record, error))
        self._writer.write(record.level, line)

    def flush(self, *, timeout_s: float) -> None:
        """Wait up to `timeout_s` seconds until all lines are written."""
        self._writer.flush(timeout_s=timeout_s)

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


def _ignore(_: Mapping[str, int]) -> None:
    """Default of `on_suppressed`."""


def _warning(message: str, fields: Mapping[str, Any]) -> LogRecord:
    return LogRecord(
        level=30, target="starkeel_observability", message=message, fields=fields, file=__file__, line=0
    )


def _unwritable(record: LogRecord, error: Exception) -> LogRecord:
    return LogRecord(
        level=max(record.level, 30),
        target=record.target,
        message="log event could not be written",
        fields={"error": type(error).__name__},
        file=record.file,
        line=record.line,
        at=record.at,
    )

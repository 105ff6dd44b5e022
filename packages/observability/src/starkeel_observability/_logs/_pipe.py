"""The one way by which every line of a process leaves it."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from ._event import Event, composed
from ._json import json_line
from ._pretty import pretty_line
from ._repeats import LeftOut, Repeats
from ._writer import LineWriter

Format = Literal["json", "pretty"]
ACCESS: Final = "starkeel_observability.access"
"""The logger of requests."""
_MOST_TOLD: Final = 5


class Pipe:
    """Renders events and writes them; never raises.

    Args:
        writer: Where lines go.
        form: JSON, or for people.
        service: What is logged as `service`.
        version: What is logged as `version`.
        most_repeats: Lines of one kind that are written in a second; 0 for all.
    """

    def __init__(
        self, writer: LineWriter, form: Format, *, service: str, version: str, most_repeats: int = 0
    ) -> None:
        self._writer = writer
        self.service = service
        self.version = version
        self.is_json = form == "json"
        self.write = writer.write
        self._render: Callable[[dict[str, Any]], bytes] = (
            json_line if form == "json" else pretty_line(colours=writer.is_terminal)
        )
        self._repeats = Repeats(most_repeats, self._tell_left_out)
        self.on_left_out: Callable[[Mapping[str, int]], None] = _ignore
        """Called with how many lines were left out since, by level."""
        writer.report = self._dropped

    def send(self, event: Event) -> None:
        """Write an event as a line, unless its like was written often enough just now."""
        # A request has its line, whatever the others have.
        if event.target != ACCESS and not self._repeats.admits(event.target, event.level, event.pattern):
            return
        self._send(event)

    def _send(self, event: Event) -> None:
        try:
            line = self._rendered(event)
        except Exception as error:  # noqa: BLE001 - what is being logged about must go on
            line = self._rendered(_unwritable(event, error))
        self._writer.write(event.level, line)

    def flush(self, *, timeout_s: float) -> None:
        """Wait until everything is written, but not for a reader that has stopped reading.

        Args:
            timeout_s: Seconds it may take.
        """
        self._writer.flush(timeout_s=timeout_s)

    def close(self, *, timeout_s: float) -> None:
        """Flush, now and after every line from here on.

        Args:
            timeout_s: Seconds it may take.
        """
        self._repeats.close()
        self._writer.close(timeout_s=timeout_s)

    def _tell_left_out(self, left_out: LeftOut) -> None:
        levels: Counter[str] = Counter()
        for kind, number in left_out.items():
            levels[kind.level] += number
        self.on_left_out(levels)
        most = [{**kind._asdict(), "count": number} for kind, number in left_out.most_common(_MOST_TOLD)]
        self._send(
            Event(
                level=30,
                target="starkeel_observability",
                message="log lines left out",
                fields={"count": left_out.total(), "levels": dict(levels), "most": most},
                file=__file__,
                line=0,
            )
        )

    def _dropped(self, counts: Mapping[str, int]) -> bytes:
        return self._rendered(
            Event(
                level=30,
                target="starkeel_observability",
                message="log lines dropped",
                fields={"count": sum(counts.values()), "levels": dict(counts)},
                file=__file__,
                line=0,
            )
        )

    def _rendered(self, event: Event) -> bytes:
        return self._render(composed(event, service=self.service, version=self.version))


def _ignore(_: Mapping[str, int]) -> None:
    """Nobody counts."""


def _unwritable(event: Event, error: Exception) -> Event:
    return Event(
        level=max(event.level, 30),
        target=event.target,
        message="log event could not be written",
        fields={"error": type(error).__name__},
        file=event.file,
        line=event.line,
        at=event.at,
    )

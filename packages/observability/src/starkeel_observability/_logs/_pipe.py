"""The one way by which every line of a process leaves it."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from ._event import Event, composed
from ._json import json_line
from ._pretty import pretty_line
from ._writer import LineWriter

Format = Literal["json", "pretty"]


class Pipe:
    """Renders events and writes them; never raises.

    Args:
        writer: Where lines go.
        form: JSON, or for people.
        service: What is logged as `service`.
        version: What is logged as `version`.
    """

    def __init__(self, writer: LineWriter, form: Format, *, service: str, version: str) -> None:
        self._writer = writer
        self.service = service
        self.version = version
        self.is_json = form == "json"
        self.write = writer.write
        self._render: Callable[[dict[str, Any]], bytes] = (
            json_line if form == "json" else pretty_line(colours=writer.is_terminal)
        )
        writer.report = self._dropped

    def send(self, event: Event) -> None:
        """Write an event as a line."""
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
        self._writer.close(timeout_s=timeout_s)

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

"""The command `events` of a service: list the topics that it receives, and replay events."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, TextIO

import msgspec
from starkeel_db import BrokerUnavailableError

from ._replay import Again, Progress, Replay, ReplayError, TopicRecord

_USAGE: Final = 2
_FAILED: Final = 1
_SHOWN_EVERY_S: Final = 1.0
_HEAD: Final = ("topic", "position", "holder", "waiting", "oldest")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    listing = actions.add_parser("list", help="print the received topics, with the events that wait")
    listing.add_argument("--json", action="store_true", help="print one JSON object a line")
    replaying = actions.add_parser("replay", help="receive events again, which handles new handlers' events")
    replaying.add_argument("--topic", required=True, metavar="TOPIC", help="service that publishes them")
    replaying.add_argument(
        "--from",
        required=True,
        dest="start",
        metavar="TIME|POSITION",
        help="when the first one was published, like 2026-01-31T12:00:00Z, or its position in the topic",
    )
    replaying.add_argument(
        "--again", action="store_true", help="handle events that were handled before again, too"
    )
    replaying.add_argument("--to", metavar="POSITION", help="position of the last one, with --again")
    replaying.add_argument("--run", metavar="ID", help="id of a replay with --again that was interrupted")


async def run(replay: Replay | None, options: Namespace, stdout: TextIO) -> int:
    """Perform an action; return the exit code."""
    if replay is None:
        return _refuse(f"events {options.action}: the service handles no events", _USAGE)
    if options.action == "list":
        records = await replay.records()
        stdout.writelines(_as_json(records) if options.json else _as_table(records))
        return 0
    if (options.run or options.to) and not options.again:
        return _refuse("events replay: --run and --to need --again", _USAGE)
    reporting = _Reporting(options.topic)
    try:
        start = parsed_start(options.start)
        again = Again(options.run, options.to, reporting.show) if options.again else None
        replayed = await replay.replay(options.topic, start, again=again)
    except ReplayError as error:
        return _refuse(f"events replay: {error}", _USAGE if error.is_usage else _FAILED)
    except ValueError as error:
        return _refuse(f"events replay: --from: {error}", _USAGE)
    except BrokerUnavailableError as error:
        reporting.show_rest()
        return _refuse(f"events replay: the broker is away: {error}", _FAILED)
    except BaseException:
        reporting.show_rest()
        raise
    if replayed.has_gap:
        sys.stderr.write("the broker has deleted some of these events\n")
    done = "received" if replayed.events is None else "handled"
    count = "events" if replayed.events is None else f"{replayed.events} events"
    stdout.write(f"{options.topic}: {count} after {replayed.after or 'the start'} are {done} again\n")
    return 0


class _Reporting:
    """Prints how far a replay is, at most once a second, and how an interrupted one goes on."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._last: Progress | None = None
        self._shown_at = float("-inf")

    def show(self, progress: Progress) -> None:
        """Print it if nothing was printed in this second."""
        self._last = progress
        if time.monotonic() - self._shown_at >= _SHOWN_EVERY_S:
            self._shown_at = time.monotonic()
            where = f"{self._topic}: {progress.events} events ({progress.share:.0%}) are handled again"
            sys.stderr.write(f"{where}; interrupted here, it goes on with {_options(progress)}\n")

    def show_rest(self) -> None:
        """Print the command for what is left, if anything was done."""
        if self._last is not None:
            command = f"events replay --topic {self._topic} {_options(self._last)}"
            sys.stderr.write(f"{self._last.events} events are handled again; go on with: {command}\n")


def _options(progress: Progress) -> str:
    # An event that was handled again in this run is left out.
    return f"--from {progress.position} --to {progress.up_to} --again --run {progress.run}"


def parsed_start(text: str) -> datetime | str:
    """Return a time, or a position of the broker.

    Raises:
        ValueError: It is a time without a time zone, in the future, or malformed.
    """
    if "T" not in text:
        return text
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time like 2026-01-31T12:00:00Z") from None
    if start.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: append Z for UTC")
    if start > datetime.now(UTC):
        raise ValueError(f"{text!r} is in the future")
    return start


def _refuse(problem: str, code: int) -> int:
    sys.stderr.write(f"{problem}\n")
    return code


def _as_json(records: Sequence[TopicRecord]) -> Iterator[str]:
    for record in records:
        waiting, oldest_s, _ = record.lag or (None, None, False)
        values = (record.topic, record.position, record.holder, waiting, oldest_s)
        names = (*_HEAD[:-1], "oldest_s")
        yield f"{msgspec.json.encode(dict(zip(names, values, strict=True))).decode()}\n"


def _as_table(records: Sequence[TopicRecord]) -> Iterator[str]:
    rows = [_HEAD, *map(_row, records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"{'  '.join(cells).rstrip()}\n"


def _row(record: TopicRecord) -> tuple[str, ...]:
    known = (record.topic, record.position or "-", record.holder or "-")
    if record.lag is None:
        return (*known, "unknown", "unknown")
    return (*known, str(record.lag.waiting), f"{record.lag.oldest_s:.0f} s")

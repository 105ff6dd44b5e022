"""The command `events` of a service: list the topics that it receives, and replay events."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, TextIO

import msgspec
from starkeel_db import BrokerUnavailableError

from ._replay import Replay, ReplayError, TopicRecord

_USAGE: Final = 2
_FAILED: Final = 1
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


async def run(replay: Replay | None, options: Namespace, stdout: TextIO) -> int:
    """Perform an action; return the exit code."""
    if replay is None:
        return _refuse(f"events {options.action}: the service handles no events", _USAGE)
    if options.action == "list":
        records = await replay.records()
        stdout.writelines(_as_json(records) if options.json else _as_table(records))
        return 0
    try:
        start = parsed_start(options.start)
        replayed = await replay.replay(options.topic, start, is_again=options.again)
    except ReplayError as error:
        return _refuse(f"events replay: {error}", _USAGE if error.is_usage else _FAILED)
    except ValueError as error:
        return _refuse(f"events replay: --from: {error}", _USAGE)
    except BrokerUnavailableError as error:
        return _refuse(f"events replay: the broker is away: {error}", _FAILED)
    if replayed.has_gap:
        sys.stderr.write("the broker has deleted some of these events\n")
    done = "received" if replayed.events is None else "handled"
    count = "events" if replayed.events is None else f"{replayed.events} events"
    stdout.write(f"{options.topic}: {count} after {replayed.after or 'the start'} are {done} again\n")
    return 0


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

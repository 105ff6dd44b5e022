"""Show the log lines of the services of `just dev`; without it, follow the output of the containers.

just logs orders --level error    the last lines of a service, of a level and above
just logs --follow                all services, until Ctrl-C
just logs --trace 4bf92f35        the lines of a trace, by the beginning of its id
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from .dashboard_data import BOLD, DIM, RED, YELLOW, DashboardError, fetch, paint
from .registry import ROOT
from .workspace import running_dashboard, service_names

_POLL_S = 0.5
_LONG_LIST = 80
_HIDDEN = {"file", "line", "threadId", "version"}
_COLOURS = {"WARN": YELLOW, "ERROR": RED, "FATAL": RED}


def main() -> int:
    """Print log lines; return 1 if the dashboard does not respond, 64 if there is no such service."""
    parser = argparse.ArgumentParser(
        prog="just logs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("service", nargs="?", default="", help="name of a service; all by default")
    parser.add_argument(
        "--level", default="", choices=("debug", "info", "warn", "error"), help="lowest level"
    )
    parser.add_argument("--text", default="", help="part of the message or of a field")
    parser.add_argument("--field", default="", metavar="NAME=VALUE", help="a field that lines must have")
    parser.add_argument("--trace", default="", metavar="ID", help="lines of a trace; a prefix is enough")
    parser.add_argument("--limit", type=int, default=100, help="number of lines (100)")
    parser.add_argument("--follow", "-f", action="store_true", help="show new lines until Ctrl-C")
    parser.add_argument("--directory", type=Path, default=ROOT, help="folder of the running just dev")
    # Other options are those of the containers.
    given, _ = parser.parse_known_args()
    url = running_dashboard(given.directory)
    if url is None:
        recipe = [str(Path(sys.executable).with_name("just")), "container-logs", *sys.argv[1:]]
        os.execv(recipe[0], recipe)
    given = parser.parse_args()
    try:
        with suppress(KeyboardInterrupt):
            if (problem := _unknown_service(url, given.service)) is not None:
                sys.stderr.write(f"{problem}\n")
                return os.EX_USAGE
            _show(url, given)
    except DashboardError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _unknown_service(url: str, name: str) -> str | None:
    """Return why no line can be that of a service; `None` if it is one, or sends its data from elsewhere."""
    names = service_names()
    if not name or name in names or fetch(url, "logs", service=name, limit=1):
        return None
    return f"there is no service {name!r}; services: {', '.join(names)}"


def _show(url: str, given: argparse.Namespace) -> None:
    after, limit = 0, min(10_000, max(1, given.limit))
    while True:
        filters = {name: getattr(given, name) for name in ("service", "level", "text", "field", "trace")}
        lines = fetch(url, "logs", after=after, limit=limit, **filters)
        for line in lines:
            sys.stdout.write("".join(f"{text}\n" for text in _texts(line)))
            after = max(after, line["number"])
        sys.stdout.flush()
        if not given.follow:
            if not lines:
                sys.stderr.write("no line matches\n")
            return
        limit = 10_000
        time.sleep(_POLL_S)


def _texts(line: dict[str, Any]) -> Iterator[str]:
    at = datetime.fromtimestamp(min(line["time_ns"] / 1e9, 2e11)).astimezone()
    shown = {name: value for name, value in line["fields"].items() if name not in _HIDDEN}
    lists = {name: items for name, value in shown.items() if (items := _items(value))}
    shown = {name: value for name, value in shown.items() if name not in lists}
    fields = " ".join(f"{paint(f'{name}=', DIM)}{paint(value, 0)}" for name, value in shown.items())
    level = paint(f"{line['level']:<5}", _COLOURS.get(line["level"], 0))
    yield (
        f"{at:%H:%M:%S}.{at.microsecond // 1000:03d} {level} {paint(line['service'], DIM)} "
        f"{paint(line['message'], BOLD)} {fields}"
    )
    width = max(map(len, lists), default=0)
    for name, items in lists.items():
        yield from (f"  {paint(f'{name:<{width}}', DIM)}  {paint(item, 0)}" for item in items)
    for text in line["stack"].split("\n") if line["stack"] else ():
        yield paint(text, RED)


def _items(value: str) -> list[str]:
    """Return the items of a list of long texts, which are shown below the line."""
    with suppress(ValueError):
        items = json.loads(value) if len(value) > _LONG_LIST and value.startswith('["') else []
        return items if all(isinstance(item, str) for item in items) else []
    return []


if __name__ == "__main__":
    sys.exit(main())

"""Data of the dashboard of `just dev`, for commands in a terminal."""

import json
import os
import sys
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

_TIMEOUT_S = 10.0
NOT_RUNNING = "the dashboard does not run; start it with the services in another terminal: uv run just dev\n"
DIM, RED, YELLOW, GREEN, BOLD = 2, 31, 33, 32, 1


class DashboardError(Exception):
    """The dashboard did not respond; the message is for the user."""


def fetch(url: str, path: str, **query: str | int) -> Any:
    """Return a part of the data of a dashboard.

    Args:
        url: URL of the dashboard.
        path: `services`, `logs` or `spans`.
        query: Filters; empty ones are left out.

    Raises:
        DashboardError: It did not respond.
    """
    given = urlencode({name: value for name, value in query.items() if value != ""})
    try:
        # Without a proxy, as the dashboard runs on this machine.
        opened = build_opener(ProxyHandler({})).open(f"{url}/data/{path}?{given}", timeout=_TIMEOUT_S)
        with opened as response:
            return json.load(response)
    except HTTPError as error:
        raise DashboardError(
            f"{url} refused the request: {error.read(500).decode(errors='replace')}"
        ) from error
    except (OSError, ValueError) as error:
        raise DashboardError(f"{url} is not reachable: {error}") from error


def is_colourful() -> bool:
    """Return whether standard output shows colours."""
    return (sys.stdout.isatty() or "FORCE_COLOR" in os.environ) and "NO_COLOR" not in os.environ


def paint(text: str, colour: int) -> str:
    """Return a text in a colour if standard output shows colours; control characters are replaced."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return f"\x1b[{colour}m{shown}\x1b[0m" if colour and is_colourful() else shown

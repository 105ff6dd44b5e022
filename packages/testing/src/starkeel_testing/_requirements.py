"""Deselection of tests that need a server which cannot be started here."""

import os
from collections.abc import Callable
from typing import NamedTuple

import pytest

from ._servers.installations import Installation, find_postgres, find_redis


class Server(NamedTuple):
    """A server that tests may need.

    Attributes:
        package: Name of the Debian package.
        find: Return its programs on this machine.
    """

    package: str
    find: Callable[[], Installation | None]


SERVERS = {"postgres": Server("postgresql", find_postgres), "redis": Server("redis-server", find_redis)}


class Deselected(NamedTuple):
    """Number of deselected tests, and the servers that they need."""

    tests: int = 0
    servers: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the summary line, with the command that installs the missing servers."""
        packages = " ".join(SERVERS[name].package for name in self.servers)
        tests = "1 test needs" if self.tests == 1 else f"{self.tests} tests need"
        return f"{tests} a server that is not available and did not run: apt-get install {packages}"


def deselect_unmet(config: pytest.Config, items: list[pytest.Item]) -> Deselected:
    """Deselect the tests that need a server which is neither given by URL nor found."""
    needed = {name: {item for item in items if _is_needed(name, item)} for name in SERVERS}
    unmet = [name for name in needed if needed[name] and not _is_available(name)]
    deselected = set().union(*(needed[name] for name in unmet))
    if deselected:
        config.hook.pytest_deselected(items=[item for item in items if item in deselected])
        items[:] = [item for item in items if item not in deselected]
    return Deselected(len(deselected), tuple(unmet))


def _is_needed(name: str, item: pytest.Item) -> bool:
    is_used = f"{name}_server" in getattr(item, "fixturenames", ())
    return is_used or item.get_closest_marker(f"needs_{name}") is not None


def _is_available(name: str) -> bool:
    return bool(os.environ.get(f"STARKEEL_TEST_{name.upper()}_URL")) or SERVERS[name].find() is not None

"""Tests that need a server no one can start here: left out, and told of on the last line."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from ._servers.installations import find_postgres, find_redis


@dataclass(frozen=True)
class Requirement:
    """A server that tests may need.

    Attributes:
        fixture: A test that uses this fixture needs it; so does one with the marker `needs_NAME`.
        url_variable: A variable that names a server of somebody's.
        package: Debian's package of it.
        is_served: Tells whether it can be started here.
    """

    fixture: str
    url_variable: str
    package: str
    is_served: Callable[[], bool]

    def is_met(self) -> bool:
        """Tell whether a test that needs it can run."""
        return bool(os.environ.get(self.url_variable)) or self.is_served()


REQUIREMENTS = {
    "postgres": Requirement(
        "postgres_server", "STARKEEL_TEST_POSTGRES_URL", "postgresql", lambda: find_postgres() is not None
    ),
    "redis": Requirement(
        "redis_server", "STARKEEL_TEST_REDIS_URL", "redis-server", lambda: find_redis() is not None
    ),
}


@dataclass
class Deselected:
    """How many tests were left out, and which needs were not met."""

    count: int = 0
    needs: set[str] = field(default_factory=set)

    def line(self) -> str:
        """Say so, with what brings the servers."""
        packages = " ".join(REQUIREMENTS[name].package for name in sorted(self.needs))
        tests = "1 test needs" if self.count == 1 else f"{self.count} tests need"
        return f"{tests} a server that is not here and did not run: apt-get install {packages}"


def deselect_unmet(config: pytest.Config, items: list[pytest.Item]) -> Deselected:
    """Deselect the tests whose needs cannot be met, and return what that was."""
    wanted = {name for item in items for name in _needs(item)}
    missing = {name for name in wanted if not REQUIREMENTS[name].is_met()}
    if not missing:
        return Deselected()
    out = [item for item in items if missing.intersection(_needs(item))]
    items[:] = [item for item in items if not missing.intersection(_needs(item))]
    config.hook.pytest_deselected(items=out)
    return Deselected(len(out), missing)


def _needs(item: pytest.Item) -> Iterable[str]:
    used: Iterable[str] = getattr(item, "fixturenames", ())
    for name, need in REQUIREMENTS.items():
        if need.fixture in used or item.get_closest_marker(f"needs_{name}"):
            yield name

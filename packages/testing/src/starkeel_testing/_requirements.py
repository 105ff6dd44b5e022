"""Deselection of tests that need a server which cannot be started here."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from ._servers.installations import Installation, find_postgres, find_redis


@dataclass(frozen=True)
class Requirement:
    """A server that tests may need.

    Attributes:
        fixture: Tests that use this fixture need the server; so do those with the marker `needs_NAME`.
        url_variable: Environment variable with the URL of an existing server.
        package: Name of the Debian package.
        find: Return the server's programs on this machine.
    """

    fixture: str
    url_variable: str
    package: str
    find: Callable[[], Installation | None]

    def is_met(self) -> bool:
        """Return whether tests that need the server can run."""
        return bool(os.environ.get(self.url_variable)) or self.find() is not None


REQUIREMENTS = {
    "postgres": Requirement("postgres_server", "STARKEEL_TEST_POSTGRES_URL", "postgresql", find_postgres),
    "redis": Requirement("redis_server", "STARKEEL_TEST_REDIS_URL", "redis-server", find_redis),
}


@dataclass
class Deselected:
    """Number of deselected tests, and the requirements that are not met."""

    count: int = 0
    requirements: set[str] = field(default_factory=set)

    def line(self) -> str:
        """Return the summary line, with the command that installs the missing servers."""
        packages = " ".join(REQUIREMENTS[name].package for name in sorted(self.requirements))
        tests = "1 test needs" if self.count == 1 else f"{self.count} tests need"
        return f"{tests} a server that is not available and did not run: apt-get install {packages}"


def deselect_unmet(config: pytest.Config, items: list[pytest.Item]) -> Deselected:
    """Deselect the tests whose requirements are not met."""
    required = {name for item in items for name in _requirements(item)}
    missing = {name for name in required if not REQUIREMENTS[name].is_met()}
    if not missing:
        return Deselected()
    deselected = [item for item in items if missing.intersection(_requirements(item))]
    items[:] = [item for item in items if not missing.intersection(_requirements(item))]
    config.hook.pytest_deselected(items=deselected)
    return Deselected(len(deselected), missing)


def _requirements(item: pytest.Item) -> Iterable[str]:
    used: Iterable[str] = getattr(item, "fixturenames", ())
    for name, requirement in REQUIREMENTS.items():
        if requirement.fixture in used or item.get_closest_marker(f"needs_{name}"):
            yield name

"""All services on one kind of database."""

from collections.abc import Callable, Iterator

import pytest

from ...support.fleet import Fleet, running_fleet


@pytest.fixture(scope="session")
def fleet(session_database: Callable[[], str]) -> Iterator[Fleet]:
    """All services, once with SQLite, once with PostgreSQL."""
    with running_fleet(session_database) as services:
        yield services

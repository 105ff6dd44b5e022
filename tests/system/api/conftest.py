"""All services on one kind of database."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from ...support.fleet import Fleet, running_fleet


@pytest.fixture(scope="session")
def _started() -> Iterator[Callable[[Callable[[], str]], Fleet]]:
    """Start all services once with each kind of database; they run until the end of the run."""
    with ExitStack() as stack:

        @cache
        def start(database: Callable[[], str]) -> Fleet:
            return stack.enter_context(running_fleet(database))

        yield start


@pytest.fixture(scope="session")
def fleet(session_database: Callable[[], str], _started: Callable[[Callable[[], str]], Fleet]) -> Fleet:
    """All services, once with SQLite, once with PostgreSQL."""
    return _started(session_database)

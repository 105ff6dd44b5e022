"""One fleet and one story for all the tests of the telemetry stack."""

from collections.abc import Iterator

import pytest

from .scenario import Scenario
from .watched_fleet import Fleet, fleet


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test the time that the story takes."""
    for item in items:
        if "tests/drills/observability" in str(item.path) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet after everything that happens in the story, with Prometheus still looking."""
    with fleet(tmp_path_factory.mktemp("fleet")) as one:
        Scenario(one).tell()
        yield one

"""The watched fleet after the scenario, for all tests of the telemetry stack."""

from collections.abc import Iterator

import pytest

from .scenario import Scenario
from .watched_fleet import WatchedFleet, watched_fleet


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Extend the timeout: the first test waits for the scenario."""
    for item in items:
        if "tests/drills/observability" in str(item.path) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedFleet]:
    """The fleet after the scenario, still scraped by Prometheus."""
    with watched_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        Scenario(fleet).run()
        yield fleet

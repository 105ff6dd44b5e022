"""Rules of all drills: which of them share a process, and which run alone."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of drills that need the machine for themselves."""
    config.addinivalue_line("markers", "alone: measures times, so no other drill runs meanwhile")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the drills of a file in one process, and all that read the telemetry of one scenario."""
    for item in items:
        suite = item.path.parent.name
        group = suite if suite == "observability" else f"{suite}/{item.path.name}"
        item.add_marker(pytest.mark.xdist_group(group))
    # That scenario takes minutes: begun last, one process would wait for the other.
    items.sort(key=lambda item: item.path.parent.name != "observability")

"""Applications that tests start in the test runner leave its logging and its tracer provider as they are."""

import pytest


@pytest.fixture(autouse=True)
def _process_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # Loggers that are used meanwhile would send their lines to stdout for the rest of the run.
    monkeypatch.setattr("starkeel_observability._plugin.is_set_up", lambda: True)

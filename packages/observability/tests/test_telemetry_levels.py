"""Levels that change while the service runs."""

import signal
from typing import Any

import pytest


@pytest.mark.parametrize("workers", [1, 2])
def test_levels_are_read_anew_at_a_sighup(samples: Any, workers: int) -> None:
    levels = samples.directory / "levels"
    levels.write_text("info\n")
    sample = samples.ready(LOG_LEVEL_FILE=levels, WORKERS=workers)
    sample.get("/items/1")
    sample.wait_for_log("item seen")
    assert not sample.found("item looked at")

    levels.write_text("warn,sample=debug\n")
    sample.process.send_signal(signal.SIGHUP)

    def is_heard() -> bool:
        sample.get("/items/2")
        return bool(sample.found("item looked at"))

    samples.wait_until(is_heard, what="debug lines")


def test_levels_that_are_wrong_change_nothing(samples: Any) -> None:
    levels = samples.directory / "levels"
    levels.write_text("info,sample=debug\n")
    sample = samples.ready(LOG_LEVEL_FILE=levels)

    levels.write_text("loud\n")
    sample.process.send_signal(signal.SIGHUP)

    sample.wait_for_log("received SIGHUP")
    samples.wait_until(lambda: "'loud' is no level" in sample.output or "LOG_LEVEL" in sample.output)
    sample.get("/items/3")
    sample.wait_for_log("item looked at")

"""Waiting for a fact."""

from itertools import count

import pytest
from starkeel_testing import wait_until


def test_the_fact_is_returned() -> None:
    looks = count()

    assert wait_until(lambda: next(looks) > 2 and "so it is") == "so it is"


def test_a_fact_that_is_none_fails_with_what_was_waited_for() -> None:
    with pytest.raises(AssertionError, match=r"0\.1 s in vain for rain"):
        wait_until(lambda: False, timeout_s=0.1, what="rain")


def test_how_things_stand_is_asked_at_the_end() -> None:
    looks = count()

    with pytest.raises(AssertionError, match=r"more than \d+ looks"):
        wait_until(lambda: next(looks) < 0, timeout_s=0.1, what=lambda: f"more than {next(looks)} looks")


def test_it_is_looked_once_however_little_time_there_is() -> None:
    assert wait_until(lambda: 7, timeout_s=0) == 7

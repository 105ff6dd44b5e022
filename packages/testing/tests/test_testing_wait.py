"""Waiting for conditions."""

from itertools import count

import pytest
from starkeel_testing import wait_until


def test_the_result_is_returned() -> None:
    calls = count()

    assert wait_until(lambda: next(calls) > 2 and "done") == "done"


def test_a_timeout_fails_with_the_description() -> None:
    with pytest.raises(AssertionError, match=r"timed out after 0\.1 s waiting for rain"):
        wait_until(lambda: False, timeout_s=0.1, what="rain")


def test_a_callable_description_is_evaluated_at_the_end() -> None:
    calls = count()

    with pytest.raises(AssertionError, match=r"more than \d+ calls"):
        wait_until(lambda: next(calls) < 0, timeout_s=0.1, what=lambda: f"more than {next(calls)} calls")


def test_the_condition_is_called_once_without_any_time() -> None:
    assert wait_until(lambda: 7, timeout_s=0) == 7

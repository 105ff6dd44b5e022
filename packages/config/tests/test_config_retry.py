"""Pauses between retries and the `Retry-After` header."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starkeel_config import Backoff, parse_retry_after

SECONDS = st.floats(min_value=0.001, max_value=1000)
MANY = 200


@given(SECONDS, SECONDS, st.floats(0, 1), st.integers(0, 10_000))
def test_a_pause_is_a_random_part_of_the_exponential_limit(
    base_s: float, cap_s: float, jitter: float, retry: int
) -> None:
    limit_s = min(cap_s, base_s * 2.0 ** min(retry, 64))

    pause_s = Backoff(base_s=base_s, cap_s=cap_s, jitter=jitter).pause_s(retry)

    assert limit_s * (1 - jitter) * 0.999_999 <= pause_s <= limit_s


def test_full_jitter_uses_the_whole_range() -> None:
    backoff = Backoff(base_s=1, cap_s=60)

    pauses = [backoff.pause_s(3) for _ in range(MANY)]

    assert min(pauses) < 2
    assert 6 < max(pauses) <= 8


def test_without_jitter_pauses_are_exact() -> None:
    backoff = Backoff(base_s=0.1, cap_s=30, jitter=0)

    assert [backoff.pause_s(retry) for retry in (0, 1, 2, 8, 9, 5000)] == [0.1, 0.2, 0.4, 25.6, 30, 30]


def test_a_minimum_may_exceed_the_cap() -> None:
    assert Backoff(base_s=1, cap_s=2).pause_s(0, at_least_s=90) == 90


def test_there_is_no_pause_beyond_the_deadline() -> None:
    backoff = Backoff(base_s=1, cap_s=8, jitter=0)

    assert backoff.pause_within_s(1, left_s=2.1) == 2
    assert backoff.pause_within_s(1, left_s=2) is None
    assert backoff.pause_within_s(0, left_s=5, at_least_s=4) == 4
    assert backoff.pause_within_s(0, left_s=5, at_least_s=6) is None
    assert backoff.pause_within_s(0, left_s=-1) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 5000, 3600.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_parsed(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, max_s=3600) == seconds


def test_retry_after_may_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    seconds = parse_retry_after(date, max_s=3600)

    assert seconds is not None
    assert 90 < seconds <= 100


@given(st.text())
def test_an_arbitrary_header_never_raises(header: str) -> None:
    seconds = parse_retry_after(header, max_s=60)

    assert seconds is None or 0 <= seconds <= 60

"""Parsing of `If-Match`."""

import pytest
from depot.etags import etag, parse_if_match
from hypothesis import given
from hypothesis import strategies as st
from litestar.exceptions import ClientException


@given(st.lists(st.integers(min_value=1, max_value=10**9 - 1), min_size=1, max_size=5))
def test_a_list_of_entity_tags_is_parsed(numbers: list[int]) -> None:
    assert parse_if_match(", ".join(etag(number) for number in numbers)) == frozenset(numbers)


@pytest.mark.parametrize(
    ("if_match", "numbers"),
    [
        ('"1"', {1}),
        (' "1" , "12"', {1, 12}),
        ('W/"1"', {1}),
        ('W/"1", "2"', {1, 2}),
        ('"1-gzip"', {1}),
        ('"1-"', set()),
        ('"01"', set()),
        ('"abc"', set()),
        ('"a,b", "3"', {3}),
        ('W/"a","2"', {2}),
        ('"99999999999999999999"', set()),
    ],
)
def test_only_tags_of_the_own_format_are_versions(if_match: str, numbers: set[int]) -> None:
    assert parse_if_match(if_match) == frozenset(numbers)


def test_a_star_is_any_version() -> None:
    assert parse_if_match(" * ") is None


@pytest.mark.parametrize("if_match", ["", "1", '"1', "1, 2", '"a, b"', '"1" "2"', '"1",', "*, *", "\x00"])
def test_an_invalid_list_of_tags_is_rejected(if_match: str) -> None:
    with pytest.raises(ClientException) as caught:
        parse_if_match(if_match)

    assert caught.value.status_code == 400


def test_a_missing_header_requires_a_precondition() -> None:
    with pytest.raises(ClientException) as caught:
        parse_if_match(None)

    assert caught.value.status_code == 428


@given(st.text(max_size=100))
def test_any_text_is_versions_or_a_client_error(text: str) -> None:
    try:
        versions = parse_if_match(text)
    except ClientException:
        return
    assert versions is None or '"' in text

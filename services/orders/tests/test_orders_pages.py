"""Where a page ends."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.exceptions import ValidationException
from orders.pages import Position


@given(
    st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001  (as hypothesis asks)
    st.uuids(),
)
def test_a_cursor_reads_back(moment: datetime, order_id: UUID) -> None:
    position = Position(moment.replace(tzinfo=UTC), order_id)

    assert Position.parse(position.cursor()) == position


@given(st.text(max_size=64))
def test_any_text_is_a_cursor_or_a_validation_error(text: str) -> None:
    try:
        position = Position.parse(text)
    except ValidationException:
        return
    assert position.cursor() == text


@pytest.mark.parametrize("text", ["", "abc", "A" * 31, "A" * 33, "*" * 32, "f" + "_" * 31])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValidationException):
        Position.parse(text)

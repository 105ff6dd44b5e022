"""Page cursors."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from depot.pagination import PageCursor
from hypothesis import given
from hypothesis import strategies as st
from litestar.exceptions import ValidationException


@given(
    st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(6535, 12, 30)),  # noqa: DTZ001  (required by hypothesis)
    st.uuids(),
)
def test_a_cursor_is_decoded(moment: datetime, crate_id: UUID) -> None:
    cursor = PageCursor(moment.replace(tzinfo=UTC), crate_id)

    assert PageCursor.decode(cursor.encode()) == cursor


@given(st.text(max_size=64))
def test_any_text_is_a_cursor_or_a_validation_error(text: str) -> None:
    try:
        cursor = PageCursor.decode(text)
    except ValidationException:
        return
    assert cursor.encode() == text


@pytest.mark.parametrize("text", ["", "abc", "A" * 31, "A" * 33, "*" * 32, "f" + "_" * 31])
def test_an_invalid_cursor_is_rejected(text: str) -> None:
    with pytest.raises(ValidationException):
        PageCursor.decode(text)

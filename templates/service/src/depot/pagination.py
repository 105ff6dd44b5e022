"""Cursor pagination: the position of the last crate on a page, encoded as opaque text."""

import base64
import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

from litestar.exceptions import ValidationException

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# 24 bytes, of which the first seven bits are 0: moments from 1970 to 6536.
CURSOR_PATTERN = r"^A[A-Za-f][A-Za-z0-9_-]{30}$(?!\n)"
_valid = re.compile(CURSOR_PATTERN).search
_LAYOUT = struct.Struct(">q16s")


@dataclass(frozen=True, slots=True)
class PageCursor:
    """Position of one crate among those of a user."""

    created_at: datetime
    id: UUID

    def encode(self) -> str:
        """Return the cursor as URL-safe text."""
        microseconds = (self.created_at - _EPOCH) // timedelta(microseconds=1)
        return base64.urlsafe_b64encode(_LAYOUT.pack(microseconds, self.id.bytes)).decode("ascii")

    @classmethod
    def decode(cls, cursor: str) -> Self:
        """Parse the result of `encode`.

        Raises:
            ValidationException: The text is not a cursor.
        """
        if _valid(cursor) is None:
            raise _invalid()
        try:
            microseconds, id_bytes = _LAYOUT.unpack(base64.b64decode(cursor, altchars=b"-_", validate=True))
            return cls(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=id_bytes))
        except (ValueError, OverflowError, struct.error) as error:
            raise _invalid() from error


def _invalid() -> ValidationException:
    message = "is not the cursor of a page"
    extra = [{"key": "cursor", "message": message, "source": "query"}]
    return ValidationException(f"`cursor` {message}", extra=extra)

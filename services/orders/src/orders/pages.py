"""Where a page of orders ends, as text that a caller hands back unread."""

import base64
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

from litestar.exceptions import ValidationException

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUT = struct.Struct(">q16s")


@dataclass(frozen=True, slots=True)
class Position:
    """The place of one order among a user's."""

    created_at: datetime
    id: UUID

    def cursor(self) -> str:
        """Return the position as text."""
        microseconds = (self.created_at - _EPOCH) // timedelta(microseconds=1)
        return base64.urlsafe_b64encode(_LAYOUT.pack(microseconds, self.id.bytes)).decode("ascii")

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """Read what `cursor` wrote.

        Raises:
            ValidationException: It is no cursor of ours.
        """
        try:
            microseconds, id_bytes = _LAYOUT.unpack(base64.b64decode(cursor, altchars=b"-_", validate=True))
            return cls(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=id_bytes))
        except (ValueError, OverflowError, struct.error) as error:
            message = "is not the cursor of a page"
            raise ValidationException(
                f"`cursor` {message}", extra=[{"key": "cursor", "message": message, "source": "query"}]
            ) from error

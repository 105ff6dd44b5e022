"""Values of a log line, made fit to be written: nothing secret or endless, nothing JSON cannot hold."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Set
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import islice
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import msgspec
from starkeel_config import Secret

from .redact import HIDDEN, is_email, is_secret, mask, mask_email

_LONGEST_TEXT: Final = 8192
_MOST_ITEMS: Final = 200
_DEEPEST: Final = 8
_BUDGET: Final = 65_536
"""Characters of all values of one line together."""
_LARGEST_INT: Final = 2**63
_TOLD: Final = (UUID, PurePath, Decimal, timedelta)


def to_text(value: object) -> str:
    """What a value says of itself, whatever that does."""
    try:
        return value if type(value) is str else str(value)
    except Exception:  # noqa: BLE001 - a value that cannot be shown must not cost the line
        return f"<{type(value).__name__} that cannot be shown>"


def encodable(text: str) -> str:
    """A text without halves of characters, which UTF-8 has no bytes for."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def clipped(text: str, longest: int = _LONGEST_TEXT) -> str:
    """A text that is not too long; it says what is missing."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}... ({len(text) - longest} more characters)"


@lru_cache(maxsize=4096)
def sanitize_name(name: str) -> str:
    """The name of a field, fit to be written."""
    return mask(encodable(clipped(name, 256)))


class Sanitizer:
    """Cleans the values of one line, which share what one line may hold."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _BUDGET

    def text(self, text: str) -> str:
        """A text without personal data."""
        longest = min(_LONGEST_TEXT, max(self._left, 0))
        if len(text) <= longest:
            kept = mask(encodable(text))
        else:
            # More is looked at than is kept: an address must not be cut through, and so escape.
            kept = mask(encodable(text[: longest + 512]))
            kept = f"{kept[:longest]}... ({len(text) - longest} more characters)"
        self._left -= len(kept)
        return kept

    def field(self, name: str, value: Any, depth: int = 0) -> Any:
        """The value of a field of that name."""
        if value is None or value is True or value is False:
            return value
        if is_secret(name):
            return HIDDEN
        if is_email(name) and isinstance(value, str):
            return mask_email(encodable(value[:320]))
        return self.value(value, depth)

    def value(self, value: Any, depth: int = 0) -> Any:
        """A value, and what it is made of."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            self._left -= 8
            return value if -_LARGEST_INT < value < _LARGEST_INT else self._huge(value)
        if kind is float:
            self._left -= 8
            return value if math.isfinite(value) else str(value)
        try:
            return self._other(value, depth)
        except Exception:  # noqa: BLE001 - as above
            return f"<{kind.__name__} that cannot be shown>"

    def _huge(self, value: int) -> str:
        # Not as decimals: that takes time that grows with the square of its length.
        return f"<int of {value.bit_length()} bits>" if value.bit_length() > 256 else str(value)

    def _other(self, value: Any, depth: int) -> Any:
        if isinstance(value, Secret):
            return HIDDEN
        if isinstance(value, Enum):
            return self.value(value.value, depth + 1) if depth < _DEEPEST else str(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.text(bytes(value[:_LONGEST_TEXT]).decode("utf-8", "backslashreplace"))
        if isinstance(value, (date, time)):
            return value.isoformat()
        if isinstance(value, (str, *_TOLD)):
            return self.text(str(value))
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {to_text(value)}")
        return self._composed(value, depth)

    def _composed(self, value: Any, depth: int) -> Any:
        fields = _fields(value)
        if fields is None and not isinstance(value, (list, tuple, Set)):
            return self.text(repr(value))
        if depth >= _DEEPEST or self._left <= 0:
            return "..."
        if fields is not None:
            return self._mapping(fields, depth)
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], (str, bytes)):
            # A header, as ASGI has it, or another name with its value.
            name = self.value(value[0], depth + 1)
            return [name, self.field(name, value[1], depth + 1)]
        kept = [self.value(item, depth + 1) for item in islice(value, _MOST_ITEMS)]
        if len(value) > _MOST_ITEMS:
            kept.append(f"... ({len(value) - _MOST_ITEMS} more)")
        return kept

    def _mapping(self, fields: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in islice(fields, _MOST_ITEMS):
            name = to_text(key)
            self._left -= len(name)
            kept[sanitize_name(name)] = self.field(name, value, depth + 1)
        return kept


def _fields(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Names and values of what has such; one by one, as copies would be made by the libraries' own ways."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return zip(value._fields, value, strict=False)
    if isinstance(value, msgspec.Struct):
        return ((name, getattr(value, name, None)) for name in value.__struct_fields__)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    return None

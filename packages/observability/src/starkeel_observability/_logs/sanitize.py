"""Sanitizing of log fields and span attributes.

Secrets are redacted by the name of their field, personal data in any text. Values are bounded in size and
representable in JSON.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Set
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import islice
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import unquote
from uuid import UUID

import msgspec
from starkeel_config import Secret

from .validation_errors import without_values

HIDDEN: Final = "***"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_has_secret_word: Final = re.compile(
    r"\b(?:apikey|auth|authorization|bearer|cookies?|credentials?|csrf|cvc|cvv|jwt|otp|passcode|passphrase|passwd|"
    r"passwords?|pin|pwd|secrets?|sig|signature|ssn|tokens?|totp|card number|session id|"
    r"(?:access|api|encryption|private|session|signing) key)\b"
).search
_is_metadata_word: Final = re.compile(
    "age|algorithm|count|enabled|expires|expiry|length|method|name|scheme|ttl|type"
).fullmatch
"""Last words of names that describe a secret without containing it, such as `token_type`."""
_EMAIL: Final = frozenset({"email", "emails", "mail"})

_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s@]*@")
_SCHEME = re.compile(r"\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{4,}\.[\w-]+\.[\w-]*")
# Starts at a word boundary and does not backtrack: linear in the length of any text.
_ADDRESS = re.compile(
    r"(?<![\w.!#$+^`{|}~-])([\w.!#$+^`{|}~-])[\w.!#$+^`{|}~-]*+(@|%40)(?=[\w\[])", re.IGNORECASE
)
# A name followed by its value, as in a query (`?token=x`), a data source name (`password=x`), JSON, or the
# repr of a mapping or of pairs. Bounded and without backtracking: linear as well.
_NAMED = re.compile(
    r"""(?<![\w%.-])([A-Za-z_%][\w.%-]{1,63}+)(?:=|['"]\s{0,4}(?::\s{0,4}|,\s{0,4}(?=b?['"])))"""
)
_VALUE = re.compile(r"""b?"(?:[^"\\]|\\.)*+"?|b?'(?:[^'\\]|\\.)*+'?|[^\s&;,()\[\]{}"'<>]++""", re.DOTALL)
_MAX_TEXT: Final = 8192
_MAX_NAME: Final = 256
_MAX_ITEMS: Final = 200
_MAX_DEPTH: Final = 8
_BUDGET: Final = 65_536
"""Characters of all values of one line."""
_MAX_INT: Final = 2**63
_TEXTUAL: Final = (UUID, PurePath, Decimal, timedelta)


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Return whether a field contains a secret, judging by the words of its name."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or _is_metadata_word(words[-1]):
        return False
    return _has_secret_word(" ".join(words)) is not None


@lru_cache(maxsize=4096)
def is_email(name: str) -> bool:
    """Return whether a field contains an email address, judging by the words of its name."""
    return not _EMAIL.isdisjoint(word.lower() for word in _WORDS.findall(name))


def mask_email(text: str) -> str:
    """Mask the local part of an email address, well-formed or not."""
    local, at, domain = text.rpartition("@")
    if not at:
        return f"{text[:1]}{HIDDEN}"
    return f"{local[:1]}{HIDDEN}@{domain}"


def mask(text: str) -> str:
    """Mask email addresses, credentials in URLs, bearer tokens and named secrets in a text."""
    # Substring tests first: almost no text contains any of these.
    if "@" in text or "%40" in text:
        if "://" in text:
            text = _CREDENTIALS.sub(f"{HIDDEN}@", text)
        text = _ADDRESS.sub(rf"\1{HIDDEN}\2", text)
    if "eyJ" in text:
        text = _JWT.sub(HIDDEN, text)
    if "earer" in text or "asic" in text or "EARER" in text or "ASIC" in text:
        text = _SCHEME.sub(rf"\1\2{HIDDEN}", text)
    if "=" in text or "'" in text or '"' in text:
        text = _mask_named(text)
    return text


def _mask_named(text: str) -> str:
    """Mask values whose name marks them as secret."""
    parts, at = [], 0
    for named in _NAMED.finditer(text):
        if named.start() < at or not is_secret(unquote(named[1])):
            continue
        value = _VALUE.match(text, named.end())
        if value is not None:
            parts += [text[at : named.end()], HIDDEN]
            at = value.end()
    return "".join([*parts, text[at:]]) if parts else text


mask_repeated: Final = lru_cache(maxsize=2048)(mask)
"""As `mask`, faster for texts that come again and again, such as the attributes of most spans."""


def to_text(value: object) -> str:
    """Return `str(value)`, or a placeholder if that raises."""
    try:
        return value if type(value) is str else str(value)
    except Exception:  # noqa: BLE001 - a value that cannot be formatted must not lose the line
        return f"<{type(value).__name__} that cannot be shown>"


def encodable(text: str) -> str:
    """Return a text with lone surrogates, which UTF-8 cannot encode, escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _clip(text: str, length: int, total: int) -> str:
    return f"{text[:length]}... ({total - length} more characters)"


@lru_cache(maxsize=4096)
def sanitize_name(name: str) -> str:
    """Return the name of a field, sanitized."""
    return mask(encodable(name if len(name) <= _MAX_NAME else _clip(name, _MAX_NAME, len(name))))


class Sanitizer:
    """Sanitizes the values of one line, which share its budget."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _BUDGET

    def text(self, text: str) -> str:
        """Return a text, redacted and shortened."""
        length = min(_MAX_TEXT, max(self._left, 0))
        if len(text) <= length:
            kept = mask(encodable(text))
        else:
            # Mask more than is kept: an address that is cut in two would not be recognized.
            kept = _clip(mask(encodable(text[: length + 512])), length, len(text))
        self._left -= len(kept)
        return kept

    def field(self, name: str, value: Any, depth: int = 0) -> Any:
        """Return the value of a field, redacted by its name as well."""
        if value is None or value is True or value is False:
            return value
        if is_secret(name):
            return HIDDEN
        if is_email(name) and isinstance(value, str):
            return mask_email(encodable(value[:320]))
        return self.value(value, depth)

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return a value and its elements, sanitized."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            self._left -= 8
            # Conversion to decimal takes time quadratic in the length.
            if value.bit_length() > 256:
                return f"<int of {value.bit_length()} bits>"
            return value if -_MAX_INT < value < _MAX_INT else str(value)
        if kind is float:
            self._left -= 8
            return value if math.isfinite(value) else str(value)
        try:
            return self._other(value, depth)
        except Exception:  # noqa: BLE001 - as above
            return f"<{type(value).__name__} that cannot be shown>"

    def _other(self, value: Any, depth: int) -> Any:
        if isinstance(value, Secret):
            return HIDDEN
        if isinstance(value, Enum):
            return self.value(value.value, depth + 1) if depth < _MAX_DEPTH else str(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.text(bytes(value[:_MAX_TEXT]).decode("utf-8", "backslashreplace"))
        if isinstance(value, (date, time)):
            return value.isoformat()
        if isinstance(value, (str, *_TEXTUAL)):
            return self.text(str(value))
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {without_values(to_text(value), value)}")
        return self._composite(value, depth)

    def _composite(self, value: Any, depth: int) -> Any:
        fields = _fields(value)
        if fields is None and not isinstance(value, (list, tuple, Set)):
            return self.text(repr(value))
        if depth >= _MAX_DEPTH or self._left <= 0:
            return "..."
        if fields is not None:
            return self._mapping(fields, depth)
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], (str, bytes)):
            # A name with its value, such as an ASGI header.
            name = self.value(value[0], depth + 1)
            return [name, self.field(name, value[1], depth + 1)]
        kept = [self.value(item, depth + 1) for item in islice(value, _MAX_ITEMS)]
        if len(value) > _MAX_ITEMS:
            kept.append(f"... ({len(value) - _MAX_ITEMS} more)")
        return kept

    def _mapping(self, fields: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in islice(fields, _MAX_ITEMS):
            name = to_text(key)
            self._left -= len(name)
            kept[sanitize_name(name)] = self.field(name, value, depth + 1)
        return kept


def _fields(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return names and values lazily, where the libraries' own functions would copy all of them."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return zip(value._fields, value, strict=False)
    if isinstance(value, msgspec.Struct):
        return ((name, getattr(value, name, None)) for name in value.__struct_fields__)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    return None

"""Messages of field errors: those of msgspec and Pydantic, without the values that they repeat.

Texts of libraries are not passed on. A message is built from the declared type, such as a bound or the
description of a pattern; that of a validator of the application may repeat the value and is replaced.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from litestar.exceptions import ValidationException

INVALID: Final = "is not valid"
NOT_A_CHOICE: Final = "is not one of the accepted values"
REQUIRED: Final = "is required"
UNKNOWN: Final = "is unknown"
WRONG_FORMAT: Final = "does not have the expected format"
"""Instead of a regular expression, which few readers of a message understand."""

_TYPE: Final = r"`[\w |.,\[\]-]+`"
# Texts that msgspec composes from the type alone.
_OF_MSGSPEC: Final = re.compile(
    rf"Expected {_TYPE}(?:, got {_TYPE}| with (?:a|no) timezone component"
    r"| that's a multiple of [\d.e+-]+| (?:>=|<=|>|<) [\d.e+-]+"
    r"| of (?:at (?:least|most) )?length (?:>= |<= )?\d+(?: to \d+)?(?:, got \d+)?)?"
    r"|Invalid (?:UUID|ISO8601 duration|MessagePack timestamp|RFC3339 encoded (?:date|datetime|time)"
    r"|base64 encoded string|decimal string|epoch timestamp)"
    r"|(?:Number|Integer value|Duration is|Timestamp is) out of range"
)
_PATTERN: Final = re.compile(rf"Expected {_TYPE} matching regex .*", re.DOTALL)
_CHOICE: Final = re.compile(r"Invalid (?:enum )?value .*", re.DOTALL)
_KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("missing", "missing_argument", "value_error.missing"), REQUIRED),
    **dict.fromkeys(("extra_forbidden", "unexpected_keyword_argument", "value_error.extra"), UNKNOWN),
    "greater_than": "Expected a value > {gt}",
    "greater_than_equal": "Expected a value >= {ge}",
    "less_than": "Expected a value < {lt}",
    "less_than_equal": "Expected a value <= {le}",
    "multiple_of": "Expected a value that's a multiple of {multiple_of}",
    "string_too_short": "Expected `str` of length >= {min_length}",
    "string_too_long": "Expected `str` of length <= {max_length}",
    "string_pattern_mismatch": WRONG_FORMAT,
    "bytes_too_short": "Expected `bytes` of length >= {min_length}",
    "bytes_too_long": "Expected `bytes` of length <= {max_length}",
    "too_short": "Expected a length >= {min_length}",
    "too_long": "Expected a length <= {max_length}",
    "finite_number": "Expected a finite number",
    "timezone_aware": "Expected `datetime` with a timezone component",
    "timezone_naive": "Expected `datetime` with no timezone component",
    "none_required": "Expected `null`",
}
_EXPECTED: Final[Mapping[str, str]] = {
    "int": "`int`",
    "float": "`float`",
    "bool": "`bool`",
    "string": "`str`",
    "bytes": "`bytes`",
    "decimal": "`decimal`",
    "complex": "`complex`",
    "uuid": "`uuid`",
    "url": "`url`",
    "date": "`date`",
    "datetime": "`datetime`",
    "time": "`time`",
    "list": "`array`",
    "tuple": "`array`",
    "set": "`array`",
    "frozen_set": "`array`",
    "iterable": "`array`",
    "dict": "`object`",
    "mapping": "`object`",
    "model": "`object`",
    "model_attributes": "`object`",
    "dataclass": "`object`",
    "json": "JSON",
}
_SUFFIX: Final = re.compile(
    r"_(?:type|parsing|parsing_size|from_float|invalid|unicode|sub|exact_type|version|scheme"
    r"|from_date_parsing|from_datetime_parsing|from_datetime_inexact|object_invalid)\Z"
)
_CHOICES: Final = re.compile(r"'((?:[^'\\]|\\.)*)'|([^\s,']+)")


def of_msgspec(text: str) -> str:
    """Return the message for a text of msgspec, without its path."""
    if _CHOICE.fullmatch(text):
        return NOT_A_CHOICE
    if _PATTERN.fullmatch(text):
        return WRONG_FORMAT
    return text if _OF_MSGSPEC.fullmatch(text) else INVALID


def of_format(description: str | None) -> str:
    """Return the message for a value that does not match a pattern, with the description of the pattern."""
    return f"{WRONG_FORMAT}: {description.rstrip('.')}" if description else WRONG_FORMAT


def of_validator(error: object) -> str:
    """Return the message for an exception of a validator: that of a `ValidationException` is for clients."""
    return str(error.detail) if isinstance(error, ValidationException) else INVALID


def of_pydantic(kind: str, context: Mapping[str, Any]) -> str:
    """Return the message for an error of Pydantic.

    Args:
        kind: The `type` of the error.
        context: Its `ctx`; only bounds and choices of the declared type are used.
    """
    if kind in {"value_error", "assertion_error"}:
        return of_validator(context.get("error"))
    if kind in {"literal_error", "enum"}:
        return _one_of(str(context.get("expected", "")).replace(" or ", ", "))
    if kind.startswith("union_tag"):
        return _one_of(str(context.get("expected_tags", "")))
    if template := _KINDS.get(kind):
        try:
            return template.format_map(context)
        except (KeyError, ValueError):
            return INVALID
    expected = _EXPECTED.get(_SUFFIX.sub("", kind))
    return f"Expected {expected}" if expected else INVALID


def _one_of(listed: str) -> str:
    choices = [quoted or bare for quoted, bare in _CHOICES.findall(listed)]
    return f"is not one of {', '.join(f'`{choice}`' for choice in choices)}" if choices else NOT_A_CHOICE

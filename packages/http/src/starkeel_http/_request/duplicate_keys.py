"""Duplicate names in JSON objects, of which decoders silently keep one (RFC 8259, 4)."""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from .._errors.validation import joined

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
_has_escaped_colon: Final = re.compile(rb"\\u003[aA]").search


def duplicate_key(body: bytes) -> str | None:
    """Return the path of the first name that an object repeats, or `None`.

    Args:
        body: Valid JSON.
    """
    # Each name has a colon, and text keeps its colons: decoding and encoding again loses one only with a
    # repeated name.
    colons = body.count(b":")
    if colons < 2:
        return None
    if _has_escaped_colon(body) is None:
        try:
            if _encode(_decode(body)).count(b":") == colons:
                return None
        except (ValueError, RecursionError):
            # A number that only the declared type can hold.
            pass
    return _first(body)


class _Object(dict[str, Any]):
    """A decoded object with the first name that it repeats."""

    repeated: str | None = None


def _first(body: bytes) -> str | None:
    try:
        found = json.loads(
            body, object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=str
        )
    except (ValueError, RecursionError):
        return None
    pending: list[tuple[str, Any]] = [("", found)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, _Object) and value.repeated is not None:
            return joined(path, value.repeated)
        pending += _inner(path, value)
    return None


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object()
    for name, value in pairs:
        if name in made and made.repeated is None:
            made.repeated = name
        made[name] = value
    return made


def _inner(path: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(joined(path, name), inner) for name, inner in value.items()]
    return (
        [(f"{path}[{index}]", inner) for index, inner in enumerate(value)] if isinstance(value, list) else []
    )

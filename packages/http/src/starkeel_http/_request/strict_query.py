"""Strict query parameters: sent once, and integers in decimal digits."""

import re
from collections import Counter
from typing import Any, Final
from urllib.parse import parse_qsl

from litestar.exceptions import ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.typing import FieldDefinition

from .. import _compat
from .._errors.problem import summary
from .._errors.validation import FieldError

QUERY: Final = "starkeel_http.query"
"""Key of a route's strict query in its handler's `opt`; `None` for a route without parameters."""

_INTEGER: Final = re.compile(r"-?[0-9]{1,4300}")


class StrictQuery:
    """Rejects what Litestar's conversion accepts: `1e1` as an integer, and the last of several values.

    Args:
        names: External names of the parameters that have one value.
        integers: Those that are integers.
    """

    def __init__(self, names: frozenset[str], integers: frozenset[str]) -> None:
        self._names = names
        self._integers = integers
        self._raw_names = {name.encode() for name in names}
        self._raw_integers = {name.encode() for name in integers}

    @classmethod
    def of(cls, handler: BaseRouteHandler) -> "StrictQuery | None":
        """Return the check for a route, with the parameters of its dependencies; `None` if there are none."""
        single = {
            name: field
            for name, field in _compat.query_parameters(handler).items()
            if not any(each.is_non_string_sequence for each in _members(field))
        }
        integers = frozenset(name for name, field in single.items() if _is_integer(field))
        return cls(frozenset(single), integers) if single else None

    def check(self, query: bytes) -> None:
        """Raise `ValidationException` with each invalid parameter of a query string."""
        if self._is_plain(query):
            return
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace")
        counts = Counter(name for name, _ in pairs)
        errors = {name: "must be sent once" for name in counts if counts[name] > 1 and name in self._names}
        for name, value in pairs:
            if name in self._integers and not _INTEGER.fullmatch(value):
                errors.setdefault(name, "Expected `int`")
        if errors:
            listed = [FieldError(field=name, message=errors[name], location="query") for name in errors]
            extra = [{"key": each.field, "message": each.message, "source": "query"} for each in listed]
            raise ValidationException(summary(listed), extra=extra)

    def _is_plain(self, query: bytes) -> bool:
        """Return whether a query is valid without decoding it, as almost all are; decoding is slow."""
        if b"%" in query or b"+" in query:
            return False
        left = self._raw_names.copy()
        for pair in query.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name not in self._raw_names:
                continue
            if name not in left or (name in self._raw_integers and not value.isdigit()):
                return False
            left.remove(name)
        return True


def _members(field: FieldDefinition) -> tuple[Any, ...]:
    return (field, *(field.inner_types if field.is_union else ()))


def _is_integer(field: FieldDefinition) -> bool:
    members = field.inner_types if field.is_union else (field,)
    kinds = {member.annotation for member in members} - {type(None), None}
    return kinds == {int}

"""Field errors of Pydantic models; Pydantic itself is not imported."""

import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from .messages import UNKNOWN, of_pydantic


def is_pydantic_error(item: object) -> bool:
    """Return whether an object is one of the `errors()` of a `ValidationError`."""
    return isinstance(item, Mapping) and "loc" in item and "type" in item


def pydantic_items(error: BaseException | None) -> list[Any]:
    """Return the errors of a `ValidationError` of Pydantic, or of Litestar's exception for one."""
    errors = getattr(error, "errors", None)
    if callable(errors) and type(error).__module__.partition(".")[0] in {"pydantic", "pydantic_core"}:
        errors = errors()
    return errors if isinstance(errors, list) else []


def pydantic_errors(items: Iterable[Mapping[str, Any]], hint: Any) -> dict[str, str]:
    """Return the messages of errors by the paths of their fields, one for each field.

    Args:
        items: The `errors()` of a `ValidationError`.
        hint: The type that was validated. It has the names of the fields: everything else in a `loc` is a
            key that the client chose, or the name of a type.
    """
    names = field_names(hint)
    found: dict[str, str] = {}
    for item in items:
        location = tuple(item["loc"])
        message = of_pydantic(str(item["type"]), item.get("ctx") or {})
        known = [part for part in location if isinstance(part, int) or part in names]
        if message == UNKNOWN and location and location[-1] not in names:
            # The same as msgspec, which names an unknown field.
            known.append(str(location[-1]))
        found.setdefault(_path(known), message)
    return found


def field_names(hint: Any) -> frozenset[str]:
    """Return the names of all fields of a type and of the types inside it."""
    try:
        return _field_names(hint)
    except TypeError:
        # The type cannot be hashed.
        return _field_names.__wrapped__(hint)


@lru_cache(maxsize=256)
def _field_names(hint: Any) -> frozenset[str]:
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        return frozenset()
    try:
        schema = pydantic.TypeAdapter(hint).json_schema()
    except Exception:  # noqa: BLE001 - a type that has no schema has no names that are safe to show
        return frozenset()
    return frozenset(_properties(schema))


def _properties(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for inner in schema.values():
            yield from _properties(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _properties(inner)


def _path(parts: Iterable[object]) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path

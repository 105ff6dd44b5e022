"""Attributes of OpenTelemetry as plain values, shortened."""

from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

MAX_VALUE: Final = 16_384
"""Characters of a string that are kept."""
MAX_ATTRIBUTES: Final = 128
_MAX_NAME: Final = 300
_MAX_DEPTH: Final = 8


def shorten(text: str, limit: int = MAX_VALUE) -> str:
    """Return a text, with the number of characters that were cut off if it is longer than the limit."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


def plain(value: AnyValue, depth: int = _MAX_DEPTH) -> Any:
    """Return a value as one of JSON's types."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "string_value":
        return shorten(value.string_value)
    if kind == "bytes_value":
        return shorten(value.bytes_value.hex())
    if kind == "array_value":
        items = value.array_value.values[:MAX_ATTRIBUTES]
        return [plain(item, depth - 1) for item in items] if depth else "…"
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values, depth - 1) if depth else "…"
    return getattr(value, kind)


def attributes(pairs: Iterable[KeyValue], depth: int = _MAX_DEPTH) -> dict[str, Any]:
    """Return attributes by name, at most 128."""
    found: dict[str, Any] = {}
    for pair in pairs:
        if len(found) >= MAX_ATTRIBUTES:
            break
        found[shorten(pair.key, _MAX_NAME)] = plain(pair.value, depth)
    return found


def service_name(pairs: Iterable[KeyValue]) -> str:
    """Return the name of the service that a resource describes."""
    for pair in pairs:
        if pair.key == "service.name" and pair.value.string_value:
            return shorten(pair.value.string_value, _MAX_NAME)
    return "unknown_service"

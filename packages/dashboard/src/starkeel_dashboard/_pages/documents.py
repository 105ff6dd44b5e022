"""OpenAPI documents as lists of operations."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

_METHODS: Final = ("get", "post", "put", "patch", "delete", "head", "options")
_MAX_OPERATIONS: Final = 500
_MAX_DEPTH: Final = 6
_SAMPLES: Final = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "null": None}


class Operation(msgspec.Struct):
    """An operation of an OpenAPI document."""

    method: str
    path: str
    summary: str
    has_body: bool
    example: str
    """Body as JSON."""


class Document(msgspec.Struct):
    """OpenAPI document of a service."""

    service: str
    title: str = ""
    operations: list[Operation] = []
    problem: str = ""
    """Why there is no document."""


def read_document(service: str, body: bytes) -> Document:
    """Return the operations of a document.

    Args:
        service: Name of the service.
        body: The document as JSON.

    Raises:
        msgspec.DecodeError: It is no JSON.
    """
    parsed = msgspec.json.decode(body)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("paths"), dict):
        return Document(service, problem="the response is no OpenAPI document")
    info = parsed.get("info")
    title = str(info.get("title", "")) if isinstance(info, dict) else ""
    operations = [
        operation for _, operation in zip(range(_MAX_OPERATIONS), _operations(parsed), strict=False)
    ]
    return Document(service, title, operations)


def _operations(parsed: dict[str, Any]) -> Iterator[Operation]:
    for path, item in parsed["paths"].items():
        for method in _METHODS:
            found = item.get(method) if isinstance(item, dict) else None
            if not isinstance(found, dict):
                continue
            body = found.get("requestBody")
            summary = str(found.get("summary") or found.get("operationId") or "")
            example = (
                msgspec.json.format(msgspec.json.encode(_example(parsed, body))).decode() if body else ""
            )
            yield Operation(method.upper(), str(path), summary, bool(body), example)


def _example(parsed: dict[str, Any], body: Any) -> Any:
    content = _resolved(parsed, body).get("content")
    media = content.get("application/json") if isinstance(content, dict) else None
    if not isinstance(media, dict):
        return {}
    return media.get("example", _sample(parsed, media.get("schema"), _MAX_DEPTH))


def _sample(parsed: dict[str, Any], schema: Any, depth: int) -> Any:
    schema = _resolved(parsed, schema)
    if depth == 0 or not schema:
        return None
    for name in ("example", "default", "const"):
        if name in schema:
            return schema[name]
    for name in ("examples", "enum"):
        if isinstance(schema.get(name), list) and schema[name]:
            return schema[name][0]
    for name in ("oneOf", "anyOf", "allOf"):
        if isinstance(schema.get(name), list) and schema[name]:
            return _sample(parsed, schema[name][0], depth - 1)
    properties = schema.get("properties")
    if isinstance(properties, dict):
        return {name: _sample(parsed, each, depth - 1) for name, each in properties.items()}
    kind = schema.get("type")
    return _SAMPLES.get(kind if isinstance(kind, str) else "", {} if kind == "object" else None)


def _resolved(parsed: dict[str, Any], value: Any) -> dict[str, Any]:
    """Return an object, after following its references inside the document."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(value, dict):
            return {}
        reference = value.get("$ref")
        if not isinstance(reference, str):
            return value
        value = parsed
        for part in reference.removeprefix("#/").split("/"):
            value = value.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
    return {}

"""Operations of an OpenAPI document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation whose path has no parameters.

    Attributes:
        method: Method in upper case.
        path: Path.
        needs_token: Whether it declares a security requirement.
        needs_parameters: Whether a parameter is required.
        has_json_body: Whether it accepts `application/json`.
    """

    method: str
    path: str
    needs_token: bool
    needs_parameters: bool
    has_json_body: bool


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Yield the operations without path parameters; what is malformed is left out."""
    paths = document.get("paths")
    if not isinstance(paths, dict):
        return
    general = document.get("security")
    for path, item in paths.items():
        if "{" in path or not isinstance(item, dict):
            continue
        for method in _METHODS:
            operation = item.get(method)
            if isinstance(operation, dict):
                yield _operation(method, path, item, operation, operation.get("security", general))


def _operation(
    method: str, path: str, item: Mapping[str, Any], operation: Mapping[str, Any], security: Any
) -> Operation:
    body = operation.get("requestBody")
    content = body.get("content") if isinstance(body, dict) else None
    parameters = [*(item.get("parameters") or ()), *(operation.get("parameters") or ())]
    return Operation(
        method.upper(),
        path,
        # An empty requirement makes the token optional.
        needs_token=bool(security) and {} not in security,
        needs_parameters=any(isinstance(entry, dict) and entry.get("required") for entry in parameters),
        has_json_body=isinstance(content, dict) and "application/json" in content,
    )

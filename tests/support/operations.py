"""Operations of an OpenAPI document, and the request and responses that its examples describe."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from starkeel_testing import Service

EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True)
class Operation:
    """An operation of a document, such as `post /api/orders`."""

    method: str
    path: str
    described: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[Mapping[str, Any]]:
        return list(self.described.get("parameters", ()))

    def successes(self) -> list[int]:
        """Return the documented statuses below 400."""
        return sorted(int(status) for status in self.described["responses"] if int(status) < 400)

    def body(self) -> Mapping[str, Any] | None:
        """Return the media type object of the request's body."""
        content = self.described.get("requestBody", {}).get("content", {})
        return next(iter(content.values()), None)

    @property
    def has_form(self) -> bool:
        """Whether the body is a form."""
        return "application/x-www-form-urlencoded" in self.described.get("requestBody", {}).get("content", {})

    def response(self, status: int) -> tuple[str, Mapping[str, Any]] | None:
        """Return media type and media type object of a response; `None` without a body."""
        return next(iter((self.described["responses"][str(status)].get("content") or {}).items()), None)


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """Return all operations of a document."""
    paths: Mapping[str, Any] = document["paths"]
    return [Operation(method, path, item[method]) for path, item in paths.items() for method in item]


def examples(described: Mapping[str, Any]) -> list[Any]:
    """Return the examples of a parameter or of a media type."""
    return [each["value"] for each in described.get("examples", {}).values()]


@contextmanager
def response_to(
    service: Service,
    operation: Operation,
    *,
    headers: Mapping[str, str],
    values: Mapping[str, str],
    has_body: bool = True,
) -> Iterator[httpx2.Response]:
    """Send the documented example of an operation; of an event stream, only the start is read.

    Args:
        headers: Further headers.
        values: By the name of a parameter, or of a field of the body: what depends on the state of the
            service, and replaces the example.
        has_body: Whether the body is sent.
    """
    path, sent, query = operation.path, dict(headers), {}
    for each in operation.parameters:
        name = each["name"]
        value = str(values.get(name, examples(each)[0]))
        if each["in"] == "path":
            path = path.replace(f"{{{name}}}", value)
        elif each["in"] == "query":
            query[name] = value
        else:
            sent[name] = value
    body = operation.body() if has_body else None
    example = None if body is None else {k: values.get(k, v) for k, v in examples(body)[0].items()}
    content = {"data" if operation.has_form else "json": example}
    with service.client.stream(operation.method, path, headers=sent, params=query, **content) as response:
        if not response.headers.get("content-type", "").startswith(EVENT_STREAM):
            response.read()
        yield response

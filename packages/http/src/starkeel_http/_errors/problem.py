"""Convert exceptions to problem details (RFC 9457)."""

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import msgspec
import structlog
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Scope

from .validation import FieldError, errors_from_extra, missing_parameter_error

MEDIA_TYPE: Final = "application/problem+json"

_RESERVED: Final = frozenset({"type", "title", "status", "detail", "instance", "request_id", "errors"})
_SAFE_IN_PATH: Final = "/:@!$&'()*+,;=-._~"
# Litestar's text repeats the query, which may hold secrets.
_ABOUT_PARAMETERS: Final = re.compile(r"Validation failed for \S+ .*", re.DOTALL)
_encode = msgspec.json.Encoder(enc_hook=str).encode


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem response.

    Args:
        status: HTTP status code.
        detail: Description for the client; empty to omit it.
        headers: Response headers.
        errors: Invalid fields of the request.
        more: Extension members.
    """

    status: int
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    errors: tuple[FieldError, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    def body(self, path: str) -> bytes:
        """Render the problem as JSON, for a request of this path."""
        members: dict[str, Any] = {"type": "about:blank", "title": _title(self.status), "status": self.status}
        if self.detail:
            members["detail"] = self.detail
        members["instance"] = quote(path, safe=_SAFE_IN_PATH, errors="replace")
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if isinstance(request_id, str):
            members["request_id"] = request_id
        if self.errors:
            members["errors"] = self.errors
        try:
            return _encode(members | self.more)
        except (TypeError, ValueError, RecursionError):
            # An extension member that cannot be encoded must not turn the problem into a failure.
            return _encode(members)


def problem_from_exception(error: Exception, scope: Scope) -> Problem:
    """Return the problem that an exception is rendered as.

    Args:
        error: The exception. Details are taken only from an `HTTPException` with another status than 500.
        scope: Scope of the request.
    """
    if not isinstance(error, HTTPException) or error.status_code == 500 or not 400 <= error.status_code < 600:
        return Problem(500)
    headers = dict(error.headers or {})
    detail = error.detail
    if isinstance(error, ValidationException):
        return _from_validation(error, detail, headers, scope)
    if detail == _title(error.status_code):
        detail = ""
    more: dict[str, Any] = {}
    if isinstance(error.extra, dict):
        more = {str(name): value for name, value in error.extra.items() if name not in _RESERVED}
    return Problem(error.status_code, detail, headers, more=more)


def exception_name(error: BaseException) -> str:
    """Return the qualified name of the exception behind a response: the cause of an `HTTPException`."""
    cause = error
    # Causes may form a cycle.
    passed: set[int] = set()
    while id(cause) not in passed:
        passed.add(id(cause))
        if isinstance(cause, HTTPException) and cause.__cause__ is not None:
            cause = cause.__cause__
        elif isinstance(cause, BaseExceptionGroup) and len(cause.exceptions) == 1:
            cause = cause.exceptions[0]
    kind = type(cause)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def summary(errors: list[FieldError]) -> str:
    """Return the detail text for invalid fields."""
    if len(errors) == 1:
        return f"`{errors[0].field}`: {errors[0].message}"
    return f"{len(errors)} fields are invalid." if errors else "The request is invalid."


def _from_validation(
    error: ValidationException, detail: str, headers: dict[str, str], scope: Scope
) -> Problem:
    errors = errors_from_extra(error.extra, scope.get("route_handler"))
    if missing := missing_parameter_error(detail):
        errors.append(missing)
    if missing or _ABOUT_PARAMETERS.fullmatch(detail):
        detail = summary(errors)
    return Problem(error.status_code, detail, headers, tuple(errors))


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"

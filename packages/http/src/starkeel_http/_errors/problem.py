"""Convert exceptions to problem details (RFC 9457)."""

import re
import traceback
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import msgspec
import structlog
from litestar.exceptions import HTTPException, SerializationException, ValidationException
from litestar.types import Scope

from .. import _compat
from .messages import INVALID
from .problem_types import problem_type
from .validation import (
    FieldError,
    body_errors,
    field_error,
    is_about_parameters,
    missing_parameter_error,
    validation_errors,
)

MEDIA_TYPE: Final = "application/problem+json"

_RESERVED: Final = frozenset({"type", "title", "status", "detail", "instance", "request_id", "errors"})
_SAFE_IN_PATH: Final = "/:@!$&'()*+,;=-._~"
# Texts of Litestar that repeat a header, or the path of a file on the server.
_REPLACED: Final = (
    (re.compile(r"Invalid content-length: .*", re.DOTALL), "`Content-Length` is not a number."),
    (re.compile(r"no file or directory match the path .* was found", re.DOTALL), ""),
    (re.compile(r"failed to (?:read|open) .* due to missing permissions", re.DOTALL), ""),
)
_VALIDATORS: Final = frozenset({"pydantic", "pydantic_core"})
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

    def body(self, path: str, types_url: str | None = None) -> bytes:
        """Render the problem as JSON.

        Args:
            path: Path of the request.
            types_url: Start of the URIs of problem types; `None` for `about:blank`.
        """
        uri = "about:blank"
        if types_url and (known := problem_type(self.status, has_errors=bool(self.errors))):
            uri = types_url + known.name
        members: dict[str, Any] = {"type": uri, "title": _title(self.status), "status": self.status}
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
    if _compat.is_raised_by_dto(error):
        errors = [field_error("", INVALID)]
        return Problem(400, summary(errors), errors=tuple(errors))
    if not isinstance(error, HTTPException) or error.status_code == 500 or not 400 <= error.status_code < 600:
        return Problem(500)
    headers = dict(error.headers or {})
    detail = error.detail
    if isinstance(error, ValidationException):
        return _from_validation(error, detail, headers, scope)
    if isinstance(error.__cause__, SerializationException) and detail == str(error.__cause__):
        return _from_decoding(error.__cause__.__cause__)
    detail = next((new for pattern, new in _REPLACED if pattern.fullmatch(detail)), detail)
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


def validation_failure(error: BaseException | None) -> str:
    """Return what a validation in the application refused, without the value; empty for other failures."""
    # Causes may form a cycle.
    passed: set[int] = set()
    while error is not None and id(error) not in passed:
        passed.add(id(error))
        if isinstance(error, msgspec.ValidationError):
            return summary(body_errors(error, Any))
        if type(error).__module__.partition(".")[0] in _VALIDATORS or _is_raised_by_attrs(error):
            return "A value is not valid."
        error = error.__cause__ or error.__context__
    return ""


def _is_raised_by_attrs(error: BaseException) -> bool:
    """Return whether a validator of attrs raised an exception; it has no class of its own."""
    frame = None
    for frame, _ in traceback.walk_tb(error.__traceback__):  # noqa: B007 - the last one raised the exception
        pass
    return frame is not None and frame.f_globals.get("__name__") == "attr.validators"


def summary(errors: list[FieldError]) -> str:
    """Return the detail text for invalid fields."""
    if len(errors) == 1:
        return f"`{errors[0].field}`: {errors[0].message}"
    return f"{len(errors)} fields are invalid." if errors else "The request is invalid."


def _from_validation(
    error: ValidationException, detail: str, headers: dict[str, str], scope: Scope
) -> Problem:
    errors = validation_errors(error, scope.get("route_handler"))
    if missing := missing_parameter_error(detail):
        errors.append(missing)
    if missing or is_about_parameters(detail) or (errors and detail == _title(error.status_code)):
        detail = summary(errors)
    return Problem(error.status_code, detail, headers, tuple(errors))


def _from_decoding(error: BaseException | None) -> Problem:
    """Return the problem for a body that Litestar decoded itself, for a DTO or as MessagePack."""
    if isinstance(error, msgspec.ValidationError):
        errors = body_errors(error, Any)
        return Problem(400, summary(errors), errors=tuple(errors))
    reason = str(error) if isinstance(error, msgspec.DecodeError) else "it cannot be decoded"
    return Problem(400, f"The body is not valid: {reason}.")


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"

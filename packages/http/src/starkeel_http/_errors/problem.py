"""From an exception to problem details (RFC 9457)."""

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
# Litestar's own words repeat the query, which may hold what nobody should read in a log.
_ABOUT_PARAMETERS: Final = re.compile(r"Validation failed for \S+ .*", re.DOTALL)
_encode = msgspec.json.Encoder(enc_hook=str).encode


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that says what went wrong.

    Args:
        status: HTTP status code.
        detail: What happened, in words for the client; empty when there is nothing to tell.
        headers: Headers of the answer.
        errors: The fields that are not as described.
        more: Members of the problem's own.
    """

    status: int
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    errors: tuple[FieldError, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    def body(self, path: str) -> bytes:
        """Write it.

        Args:
            path: What was asked for.
        """
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
            # What an exception carried along cannot be written: a problem must not fail.
            return _encode(members)


def problem_from_exception(error: Exception, scope: Scope) -> Problem:
    """Say what a client may know of an exception.

    Args:
        error: What was raised. Only an `HTTPException` that is no 500 is for the client's eyes.
        scope: The request's.
    """
    if not isinstance(error, HTTPException) or error.status_code == 500 or not 400 <= error.status_code < 600:
        return Problem(500)
    headers = dict(error.headers or {})
    detail = error.detail
    if isinstance(error, ValidationException):
        return _of_validation(error, detail, headers, scope)
    if detail == _title(error.status_code):
        detail = ""
    more: dict[str, Any] = {}
    if isinstance(error.extra, dict):
        more = {str(name): value for name, value in error.extra.items() if name not in _RESERVED}
    return Problem(error.status_code, detail, headers, more=more)


def exception_name(error: BaseException) -> str:
    """Qualified name of the exception that is behind an answer: what an `HTTPException` was raised from."""
    behind = error
    while True:
        if isinstance(behind, HTTPException) and behind.__cause__ is not None:
            behind = behind.__cause__
        elif isinstance(behind, BaseExceptionGroup) and len(behind.exceptions) == 1:
            behind = behind.exceptions[0]
        else:
            break
    kind = type(behind)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _of_validation(error: ValidationException, detail: str, headers: dict[str, str], scope: Scope) -> Problem:
    errors = errors_from_extra(error.extra, scope.get("route_handler"))
    if missing := missing_parameter_error(detail):
        errors.append(missing)
    if missing or _ABOUT_PARAMETERS.fullmatch(detail):
        detail = _summary(errors)
    return Problem(error.status_code, detail, headers, tuple(errors))


def _summary(errors: list[FieldError]) -> str:
    if len(errors) == 1:
        return f"`{errors[0].field}`: {errors[0].message}"
    return f"{len(errors)} fields are not as described." if errors else "The request is not as described."


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"

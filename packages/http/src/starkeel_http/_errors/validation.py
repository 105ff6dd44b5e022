"""Field errors of invalid requests, from the exceptions of msgspec and Litestar."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar.exceptions import ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.params import ParameterKwarg
from msgspec import Meta

from .._compat import body_annotation, parameters
from .messages import INVALID, REQUIRED, UNKNOWN, WRONG_FORMAT, of_format, of_msgspec, of_validator
from .pydantic_errors import is_pydantic_error, pydantic_errors, pydantic_items

Location = Literal["body", "query", "path", "header", "cookie"]

_LOCATIONS: Final[frozenset[str]] = frozenset({"body", "query", "path", "header", "cookie"})
_MISSING: Final = re.compile(r"Missing required (\w+) parameter '([^']*)' for path .*", re.DOTALL)
_PATH: Final = re.compile(r" - at `(?:key in )?\$\.?(.*)`\Z", re.DOTALL)
_KEY: Final = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
_ABOUT_PARAMETERS: Final = re.compile(r"Validation failed for \S+ .*", re.DOTALL)
_MAX_LENGTH: Final = 200


class FieldError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One invalid field of a request."""

    field: Annotated[
        str, Meta(description="Name or path of the field, such as `items[0].price`.", examples=["quantity"])
    ]
    message: Annotated[str, Meta(examples=["Expected `int` >= 1"])]
    location: Annotated[
        Location | None, Meta(description="Part of the request that holds the field.", examples=["body"])
    ] = None


def body_errors(error: msgspec.ValidationError, hint: Any, *, within: str = "") -> list[FieldError]:
    """Convert an error of msgspec about a body: to several errors only if Pydantic raised it.

    Args:
        error: The error.
        hint: The type that was decoded.
        within: Field whose value was decoded; empty for the whole body.
    """
    if items := pydantic_items(error):
        return _from_pydantic(items, hint, within)
    text, path = str(error), ""
    if found := _PATH.search(text):
        text, path = text[: found.start()], found[1]
    path = joined(within, path)
    if error.__cause__ is not None:
        return [field_error(path, of_validator(error.__cause__))]
    if key := _KEY.fullmatch(text):
        return [field_error(joined(path, key[2]), REQUIRED if key[1] == "missing required" else UNKNOWN)]
    return [field_error(path, of_msgspec(text))]


def field_error(path: str, message: str) -> FieldError:
    """Return the error of a field of the body; an empty path is the body itself."""
    return FieldError(field=_shortened(path or "body"), message=_shortened(message), location="body")


def joined(path: str, inner: str) -> str:
    """Return the path of a field within another."""
    return path + (inner if not (path and inner) or inner.startswith("[") else f".{inner}")


def validation_errors(error: ValidationException, handler: Any) -> list[FieldError]:
    """Convert the `extra` list of a `ValidationException`.

    Args:
        error: The exception. Messages of Litestar's own, which may repeat values, are replaced; those of the
            application are for clients.
        handler: The route's handler, for its body and the external names of its parameters.
    """
    hint = body_annotation(handler) if isinstance(handler, BaseRouteHandler) else Any
    is_of_litestar = is_about_parameters(error.detail)
    items: list[Any] = error.extra if isinstance(error.extra, list) else []
    if is_of_litestar or any(map(is_pydantic_error, items)):
        # Litestar keeps of Pydantic's errors only their texts.
        items = pydantic_items(error.__cause__) or items
    pydantic = [item for item in items if is_pydantic_error(item)]
    others = [item for item in items if isinstance(item, dict) and not is_pydantic_error(item)]
    return [
        *_from_pydantic(pydantic, hint, ""),
        *(_error_from_item(item, handler, is_of_litestar=is_of_litestar) for item in others),
    ]


def is_about_parameters(detail: str) -> bool:
    """Return whether a detail is Litestar's, which repeats the query."""
    return _ABOUT_PARAMETERS.fullmatch(detail) is not None


def missing_parameter_error(detail: str) -> FieldError | None:
    """Convert Litestar's error text about a missing parameter; return None for other texts."""
    found = _MISSING.fullmatch(detail)
    if found is None:
        return None
    return FieldError(field=found[2], message="is required", location=_location(found[1]))


def _from_pydantic(items: Iterable[Any], hint: Any, within: str) -> list[FieldError]:
    found = pydantic_errors(items, hint)
    return [field_error(joined(within, path), message) for path, message in found.items()]


def _error_from_item(item: dict[str, Any], handler: Any, *, is_of_litestar: bool) -> FieldError:
    key, message = str(item.get("key", "")), str(item.get("message", INVALID))
    if message == repr(key):
        # The text of the KeyError that Litestar raises for a missing body.
        message = REQUIRED
    elif is_of_litestar:
        message = of_msgspec(message)
    parameter = _parameter(key, handler)
    if message == WRONG_FORMAT and parameter is not None and parameter.pattern:
        message = of_format(parameter.description)
    field = _external_name(key, parameter)
    location = _location(str(getattr(item.get("source"), "value", item.get("source"))))
    if key == "data" and location == "body":
        field = "body"
    return FieldError(field=_shortened(field), message=_shortened(message), location=location)


def _parameter(key: str, handler: Any) -> ParameterKwarg | None:
    definition = parameters(handler).get(key) if isinstance(handler, BaseRouteHandler) else None
    kwarg = definition.kwarg_definition if definition is not None else None
    return kwarg if isinstance(kwarg, ParameterKwarg) else None


def _external_name(key: str, parameter: ParameterKwarg | None) -> str:
    if parameter is None:
        return key
    return parameter.name or parameter.header or parameter.query or parameter.cookie or key


def _location(text: str) -> Location | None:
    return text if text in _LOCATIONS else None  # type: ignore[return-value]  # mypy does not narrow by `in`


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."

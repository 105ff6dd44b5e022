"""Field errors of invalid requests, from the exceptions of msgspec and Litestar."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar.handlers import BaseRouteHandler
from litestar.params import ParameterKwarg
from msgspec import Meta

from .._compat import parameters

Location = Literal["body", "query", "path", "header", "cookie"]

_LOCATIONS: Final[frozenset[str]] = frozenset({"body", "query", "path", "header", "cookie"})
# msgspec repeats the value, which may be a password in the wrong field.
_CHOICE: Final = re.compile(r"Invalid enum value .*", re.DOTALL)
_MISSING: Final = re.compile(r"Missing required (\w+) parameter '([^']*)' for path .*", re.DOTALL)
_PATH: Final = re.compile(r" - at `(?:key in )?\$\.?(.*)`\Z", re.DOTALL)
_KEY: Final = re.compile(r"Object (?:contains unknown|missing required) field `(.*)`\Z", re.DOTALL)
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


def body_error(error: msgspec.ValidationError, *, within: str = "") -> FieldError:
    """Convert an error of msgspec about a body.

    Args:
        error: The error.
        within: Field whose value was decoded; empty for the whole body.
    """
    text = str(error)
    path = ""
    if found := _PATH.search(text):
        text, path = text[: found.start()], found[1]
    if within:
        path = within + (path if path.startswith("[") or not path else f".{path}")
    if key := _KEY.search(text):
        path = f"{path}.{key[1]}" if path else key[1]
        text = "is required" if "missing" in text else "is unknown"
    return FieldError(field=_shortened(path or "body"), message=_without_value(text), location="body")


def errors_from_extra(extra: Any, handler: Any) -> list[FieldError]:
    """Convert the `extra` list of Litestar's `ValidationException`.

    Args:
        extra: The list.
        handler: The route's handler, for the external names of its parameters.
    """
    items: Iterable[Any] = extra if isinstance(extra, list) else ()
    return [_error_from_item(item, handler) for item in items if isinstance(item, dict)]


def missing_parameter_error(detail: str) -> FieldError | None:
    """Convert Litestar's error text about a missing parameter; return None for other texts."""
    found = _MISSING.fullmatch(detail)
    if found is None:
        return None
    return FieldError(field=found[2], message="is required", location=_location(found[1]))


def _error_from_item(item: dict[str, Any], handler: Any) -> FieldError:
    key, message = str(item.get("key", "")), str(item.get("message", ""))
    if message == repr(key):
        # The text of the KeyError that Litestar raises for a missing body.
        message = "is required"
    field = _external_name(key, handler)
    location = _location(str(getattr(item.get("source"), "value", item.get("source"))))
    if key == "data" and location == "body":
        field = "body"
    return FieldError(field=_shortened(field), message=_without_value(message), location=location)


def _external_name(key: str, handler: Any) -> str:
    definition = parameters(handler).get(key) if isinstance(handler, BaseRouteHandler) else None
    kwarg = definition.kwarg_definition if definition is not None else None
    if not isinstance(kwarg, ParameterKwarg):
        return key
    return kwarg.name or kwarg.header or kwarg.query or kwarg.cookie or key


def _location(text: str) -> Location | None:
    return text if text in _LOCATIONS else None  # type: ignore[return-value]  # mypy does not narrow by `in`


def _without_value(message: str) -> str:
    return _shortened(_CHOICE.sub("is not one of the accepted values", message))


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."

"""What is wrong with a request, field by field."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar.params import ParameterKwarg
from msgspec import Meta

Location = Literal["body", "query", "path", "header", "cookie"]

_LOCATIONS: Final[frozenset[str]] = frozenset({"body", "query", "path", "header", "cookie"})
# msgspec repeats the value, which may be a password in the wrong field.
_CHOICE: Final = re.compile(r"Invalid enum value .*", re.DOTALL)
_MISSING: Final = re.compile(r"Missing required (\w+) parameter '([^']*)' for path .*", re.DOTALL)
_PATH: Final = re.compile(r" - at `(?:key in )?\$\.?(.*)`\Z", re.DOTALL)
_KEY: Final = re.compile(r"Object (?:contains unknown|missing required) field `(.*)`\Z", re.DOTALL)
_LONGEST: Final = 200


class FieldError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One field that is not as described."""

    field: Annotated[
        str, Meta(description="Its name, or its place: `items[0].price`.", examples=["quantity"])
    ]
    message: Annotated[str, Meta(examples=["Expected `int` >= 1"])]
    location: Annotated[Location | None, Meta(description="Where it stands.", examples=["body"])] = None


def body_error(error: msgspec.ValidationError, *, within: str = "") -> FieldError:
    """Say what msgspec found in a body.

    Args:
        error: What it raised.
        within: The field whose value it was reading; empty for the whole body.
    """
    text = str(error)
    place = ""
    if found := _PATH.search(text):
        text, place = text[: found.start()], found[1]
    if within:
        place = within + (place if place.startswith("[") or not place else f".{place}")
    if named := _KEY.search(text):
        place = f"{place}.{named[1]}" if place else named[1]
        text = "is required" if "missing" in text else "is unknown"
    return FieldError(field=_short(place or "body"), message=_without_value(text), location="body")


def errors_from_extra(extra: Any, handler: Any) -> list[FieldError]:
    """Read the list that Litestar's `ValidationException` carries.

    Args:
        extra: The list.
        handler: The route's, which knows what a parameter is called outside.
    """
    items: Iterable[Any] = extra if isinstance(extra, list) else ()
    return [_error_from_item(item, handler) for item in items if isinstance(item, dict)]


def missing_parameter_error(detail: str) -> FieldError | None:
    """Read Litestar's words for a parameter that is not there."""
    found = _MISSING.fullmatch(detail)
    if found is None:
        return None
    return FieldError(field=found[2], message="is required", location=_location(found[1]))


def _error_from_item(item: dict[str, Any], handler: Any) -> FieldError:
    key, message = str(item.get("key", "")), str(item.get("message", ""))
    if message == repr(key):
        # The words of a KeyError, which is how Litestar finds that there is no body.
        message = "is required"
    field = _outer_name(key, handler)
    location = _location(str(getattr(item.get("source"), "value", item.get("source"))))
    if key == "data" and location == "body":
        field = "body"
    return FieldError(field=_short(field), message=_without_value(message), location=location)


def _outer_name(key: str, handler: Any) -> str:
    signature = getattr(handler, "parsed_fn_signature", None)
    definition = signature.parameters.get(key) if signature is not None else None
    kwarg = definition.kwarg_definition if definition is not None else None
    if not isinstance(kwarg, ParameterKwarg):
        return key
    return kwarg.name or kwarg.header or kwarg.query or kwarg.cookie or key


def _location(text: str) -> Location | None:
    return text if text in _LOCATIONS else None  # type: ignore[return-value]  # mypy does not narrow by `in`


def _without_value(message: str) -> str:
    return _short(_CHOICE.sub("is not one of the accepted values", message))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."

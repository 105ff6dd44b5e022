"""Strict JSON decoding: no type coercion, unknown fields rejected."""

import enum
import types
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from litestar import Request
from litestar.exceptions import ClientException, ValidationException
from litestar.handlers import HTTPRouteHandler

from .._compat import body_type
from .._errors.problem import summary
from .._errors.validation import FieldError, body_error
from .media_types import AcceptedType

DECODER: Final = "starkeel_http.decoder"
"""Key of the route's decoder in a handler's `opt`."""
ACCEPTED_TYPE: Final = "starkeel_http.accepted_type"
"""Key of the type of the route's bodies in a handler's `opt`."""

_ANY_JSON: Final = AcceptedType()

_MAX_CHOICES: Final = 20
_MAX_UNKNOWN_FIELDS: Final = 10


class StrictDecoder:
    """Decodes JSON bodies as the type that a handler declares, without coercion.

    Litestar decodes JSON first and converts it leniently afterwards, so that `"1"` becomes a number.

    Args:
        handler: The route's handler; without a declared body any JSON is accepted.
    """

    def __init__(self, handler: HTTPRouteHandler) -> None:
        self._type = body_type(handler)
        self._hook = handler.default_deserializer
        self._decoder: msgspec.json.Decoder[Any]
        try:
            self._decoder = msgspec.json.Decoder(self._type, dec_hook=self._hook)
        except TypeError:
            # A type that msgspec does not support is left to Litestar's conversion.
            self._type = Any
            self._decoder = msgspec.json.Decoder()

    def decode(self, body: bytes) -> Any:
        """Decode a body.

        Raises:
            ValidationException: The body does not match the type; `extra` lists each invalid field.
            ClientException: The body is not valid JSON.
        """
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            errors = self._errors(body, error)
            extra = [{"key": each.field, "message": each.message, "source": "body"} for each in errors]
            raise ValidationException(summary(errors), extra=extra) from None
        except RecursionError:
            raise ClientException("The body is nested too deeply.") from None
        except UnicodeDecodeError:
            raise ClientException("The body is not valid UTF-8.") from None
        except msgspec.DecodeError as error:
            raise ClientException(f"The body is not valid JSON: {_reason(error)}.") from None
        except (ValueError, OverflowError):
            raise ClientException("The body has a value that cannot be decoded.") from None

    def _errors(self, body: bytes, first: msgspec.ValidationError) -> list[FieldError]:
        """List all invalid fields; msgspec itself stops at the first."""
        struct = _only_struct(self._type)
        if struct is None:
            return [_with_choices(body_error(first), self._type)]
        try:
            values = msgspec.json.decode(body)
        except (ValueError, RecursionError):
            # The rest of the body is not valid JSON.
            return [body_error(first)]
        if not isinstance(values, dict):
            return [body_error(first)]
        return self._field_errors(struct, values) or [body_error(first)]

    def _field_errors(self, struct: Any, values: dict[str, Any]) -> list[FieldError]:
        errors = []
        fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        for name, field in fields.items():
            if name not in values:
                if field.required:
                    errors.append(FieldError(field=name, message="is required", location="body"))
                continue
            try:
                msgspec.convert(values[name], field.type, dec_hook=self._hook, str_keys=True)
            except msgspec.ValidationError as error:
                errors.append(_with_choices(body_error(error, within=name), field.type))
        if struct.__struct_config__.forbid_unknown_fields:
            tag = struct.__struct_config__.tag_field
            unknown = [name for name in values if name not in fields and name != tag]
            errors += [
                FieldError(field=name[:100], message="is unknown", location="body")
                for name in unknown[:_MAX_UNKNOWN_FIELDS]
            ]
        return errors


class StrictRequest(Request[Any, Any, Any]):
    """Request whose body has the type that its route declares; JSON is decoded by its `StrictDecoder`."""

    __slots__ = ()

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Return the parts of the body.

        Raises:
            HTTPException: 415, the body is not of the type that the handler declares.
        """
        accepted: AcceptedType | None = self.route_handler.opt.get(ACCEPTED_TYPE)
        if accepted is not None:
            accepted.check(self.method, self.content_type)
        async for part in super().stream():
            yield part

    async def json(self) -> Any:
        """Return the decoded body; None if it is empty.

        Raises:
            ValidationException: The body does not match the declared type.
            ClientException: The body is not valid JSON.
            HTTPException: 415, it is not JSON according to its `Content-Type`.
        """
        body = await self.body()
        if not body:
            return None
        handler = self.route_handler
        if ACCEPTED_TYPE not in handler.opt:
            _ANY_JSON.check(self.method, self.content_type)
        return (handler.opt.get(DECODER) or StrictDecoder(handler)).decode(body)


def strict_request_class(base: type[Request[Any, Any, Any]] | None) -> type[Request[Any, Any, Any]]:
    """Return a subclass of an application's request class that decodes strictly."""
    if base is None or base is Request:
        return StrictRequest
    return type(base.__name__, (StrictRequest, base), {"__slots__": ()})


def _only_struct(hint: Any) -> Any:
    members = [member for member in _members(hint) if member is not type(None)]
    if len(members) == 1 and isinstance(members[0], type) and issubclass(members[0], msgspec.Struct):
        return members[0]
    return None


def _members(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if get_origin(hint) in {Union, types.UnionType}:
        return tuple(inner for member in get_args(hint) for inner in _members(member))
    return (hint,)


def _with_choices(error: FieldError, hint: Any) -> FieldError:
    """List the accepted values of an enumeration in its error message."""
    if error.message != "is not one of the accepted values":
        return error
    choices: list[Any] = []
    for member in _members(hint):
        if get_origin(member) is Literal:
            choices += get_args(member)
        elif isinstance(member, type) and issubclass(member, enum.Enum):
            choices += [choice.value for choice in member]
    if not 0 < len(choices) <= _MAX_CHOICES:
        return error
    accepted = ", ".join(f"`{choice}`" for choice in choices)
    return FieldError(field=error.field, message=f"is not one of {accepted}", location=error.location)


def _reason(error: msgspec.DecodeError) -> str:
    text = str(error).removeprefix("JSON is malformed: ")
    return text[:1].lower() + text[1:]

"""Strict JSON decoding: no type coercion, unknown and repeated fields rejected."""

from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec
from litestar import Request
from litestar.exceptions import ClientException, ValidationException
from litestar.handlers import HTTPRouteHandler

from .._compat import body_type
from .._errors.problem import summary
from .._errors.validation import FieldError, field_error
from .duplicate_keys import duplicate_key
from .field_errors import all_errors, first_errors
from .media_types import AcceptedType

DECODER: Final = "starkeel_http.decoder"
"""Key of the route's decoder in a handler's `opt`."""
ACCEPTED_TYPE: Final = "starkeel_http.accepted_type"
"""Key of the type of the route's bodies in a handler's `opt`."""

_ANY_JSON: Final = AcceptedType()


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
            decoded = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _invalid(self._errors(body, error)) from None
        except RecursionError:
            raise ClientException("The body is nested too deeply.") from None
        except UnicodeDecodeError:
            raise ClientException("The body is not valid UTF-8.") from None
        except msgspec.DecodeError as error:
            raise ClientException(f"The body is not valid JSON: {_reason(error)}.") from None
        except (ValueError, OverflowError):
            raise ClientException("The body has a value that cannot be decoded.") from None
        if (repeated := duplicate_key(body)) is not None:
            raise _invalid([field_error(repeated, "is repeated")])
        return decoded

    def _errors(self, body: bytes, first: msgspec.ValidationError) -> list[FieldError]:
        """List all invalid fields; msgspec itself stops at the first."""
        try:
            return all_errors(self._type, msgspec.json.decode(body), self._hook) or first_errors(
                first, self._type
            )
        except (ValueError, RecursionError):
            # The rest of the body is not valid JSON.
            return first_errors(first, self._type)


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


def _invalid(errors: list[FieldError]) -> ValidationException:
    extra = [{"key": each.field, "message": each.message, "source": "body"} for each in errors]
    return ValidationException(summary(errors), extra=extra)


def _reason(error: msgspec.DecodeError) -> str:
    text = str(error).removeprefix("JSON is malformed: ")
    return text[:1].lower() + text[1:]

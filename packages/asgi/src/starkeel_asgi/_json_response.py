"""Responses of JSON in fewer steps than Litestar's."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from litestar.enums import MediaType
from litestar.exceptions import ImproperlyConfiguredException
from litestar.response import Response
from litestar.serialization import default_serializer
from litestar.types import Receive, Scope, Send
from litestar.types.empty import Empty
from msgspec.json import Encoder

T = TypeVar("T")

_JSON: Final = MediaType.JSON.value
_CONTENT_TYPE: Final = (b"content-type", b"application/json")
_NO_CONTENT: Final = frozenset({204, 304})
_MAX_ENCODERS: Final = 256


class JsonResponse(Response[T]):
    """Litestar's `Response`, which sends plain JSON in fewer steps.

    The response class of an application that has set none. What has cookies, headers or another media type
    is rendered by Litestar's own methods.
    """

    __slots__ = ()

    def __init__(
        self,
        content: T,
        *,
        background: Any = None,
        media_type: Any = None,
        status_code: int | None = None,
        type_encoders: Any = None,
        **options: Any,
    ) -> None:
        if options:
            super().__init__(
                content,
                background=background,
                media_type=media_type,
                status_code=status_code,
                type_encoders=type_encoders,
                **options,
            )
            return
        self.content, self.background, self.status_code = content, background, status_code
        self.media_type, self.encoding = media_type, "utf-8"
        self.cookies, self.headers = [], {}
        # Litestar copies them for each response; none of its own are added here.
        self.response_type_encoders = type_encoders

    def to_asgi_response(
        self,
        app: Any,
        request: Any,
        *,
        headers: Mapping[str, str] | None = None,
        cookies: Any = None,
        **options: Any,
    ) -> Any:
        """Return the ASGI application that sends this response.

        Raises:
            ImproperlyConfiguredException: The content cannot be encoded.
        """
        content, status = self.content, self.status_code
        if (
            options
            or headers
            or cookies
            or self.headers
            or self.cookies
            or self.media_type != _JSON
            or status is None
            or status < 200
            or status in _NO_CONTENT
            or isinstance(content, (str, bytes))
            or content is Empty
        ):
            return super().to_asgi_response(app, request, headers=headers, cookies=cookies, **options)  # type: ignore[arg-type]
        encoders = self.response_type_encoders
        encode = _encode if not encoders else _encoder_of(encoders)
        try:
            body = encode(content)
        except (AttributeError, ValueError, TypeError) as error:
            raise ImproperlyConfiguredException("Unable to serialize response content") from error
        return _Sent(status, body, self.background)


class _Sent:
    """Sends an encoded response, and executes its background tasks."""

    __slots__ = ("_background", "_body", "_status")

    def __init__(self, status: int, body: bytes, background: Any) -> None:
        self._status, self._body, self._background = status, body, background

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        body = self._body
        headers = [_CONTENT_TYPE, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        if self._background is not None:
            await self._background()


_encode: Final = Encoder(enc_hook=default_serializer).encode
_encoders: Final[dict[int, tuple[Any, Callable[[Any], bytes]]]] = {}


def _encoder_of(encoders: Any) -> Callable[[Any], bytes]:
    """Return the function that encodes with the type encoders of a route, which has one mapping of them."""
    known = _encoders.get(id(encoders))
    if known is None:
        if len(_encoders) >= _MAX_ENCODERS:
            _encoders.clear()
        encode = Encoder(enc_hook=partial(default_serializer, type_encoders=encoders)).encode
        # The mapping is kept: another one cannot have its id.
        known = _encoders[id(encoders)] = encoders, encode
    return known[1]

"""Media types of request bodies: the type that a handler declares, or 415 (RFC 9110, 15.5.16)."""

from typing import Any, Final

from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from .._compat import body_media_type

_JSON: Final = RequestEncodingType.JSON.value
_UTF_8: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_TEXT: Final = frozenset({_JSON, RequestEncodingType.URL_ENCODED.value})
_ALIASES: Final = {
    RequestEncodingType.MESSAGEPACK.value: frozenset({"application/msgpack", "application/x-msgpack"})
}


class AcceptedType:
    """The media type of a handler's body.

    A request without `Content-Type` is accepted: RFC 9110, 8.3, leaves the type to the recipient.

    Args:
        name: Such as `application/json`, which any type ending in `+json` is as well.
    """

    def __init__(self, name: str = _JSON) -> None:
        self._name = name

    @classmethod
    def of(cls, handler: HTTPRouteHandler) -> "AcceptedType | None":
        """Return the type that a handler declares; `None` if it declares no body."""
        name = body_media_type(handler)
        return None if name is None else cls(name)

    def check(self, method: str, content_type: tuple[str, dict[str, str]]) -> None:
        """Check the `Content-Type` of a request, parsed.

        Raises:
            HTTPException: 415, it is another type, or text that is not UTF-8.
        """
        name, parameters = content_type
        if not name or (self._is_accepted(name.lower()) and self._is_readable(parameters)):
            return
        headers = {"Accept": self._name}
        if method == "PATCH":
            # RFC 5789, 2.2.
            headers["Accept-Patch"] = self._name
        detail = f"The body must be `{self._name}`{' in UTF-8' if self._name in _TEXT else ''}."
        raise HTTPException(detail, status_code=415, headers=headers)

    def _is_accepted(self, name: str) -> bool:
        if name == self._name or name in _ALIASES.get(self._name, ()):
            return True
        return self._name == _JSON and name.startswith("application/") and name.endswith("+json")

    def _is_readable(self, parameters: dict[str, Any]) -> bool:
        charset = next((value for key, value in parameters.items() if key.lower() == "charset"), "utf-8")
        return self._name not in _TEXT or str(charset).lower() in _UTF_8

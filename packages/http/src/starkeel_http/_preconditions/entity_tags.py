"""Entity tags in `If-Match` and `If-None-Match` (RFC 9110, 13.1), also those that proxies have changed."""

import re
from typing import Any, Final, Self

from litestar import Request
from litestar.exceptions import ClientException, HTTPException
from starkeel_asgi import Header, HttpExchange, Response

_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST: Final = re.compile(rf"[ \t]*{_TAG}(?:[ \t]*,[ \t]*{_TAG})*[ \t]*")
_EACH: Final = re.compile(r'(?:W/)?"([^"]*)"')
# Apache, Caddy and Jetty mark the tag of a response that they compress; others make it weak.
_CODING: Final = re.compile("(?:--?|[;:])(?:gzip|br|zstd|deflate)$")
_MAX_LENGTH: Final = 4096
_OK: Final = 200
_NOT_MODIFIED: Final = 304
_OF_CONTENT: Final = frozenset({b"content-length", b"content-type", b"content-encoding", b"content-language"})
_CHANGED: Final = "The resource has changed since it was read, or does not exist. Read it again."
_EXISTS: Final = "The resource exists already, or has not changed."


class EntityTags:
    """A list of entity tags, or `*`.

    A weak tag, and one with the name of a coding at its end, matches the tag without. RFC 9110, 13.1.1,
    requires a strong comparison, which the tag of a response that a proxy has compressed never passes. The
    tags that these services send are strong: a weak one is the mark of a proxy.

    Attributes:
        pattern: Pattern of a header, for the OpenAPI document.
        values: The opaque parts, without marks of proxies; `None` for `*`.
    """

    pattern: Final = rf"^(?:\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG})*)$"

    def __init__(self, values: frozenset[str] | None) -> None:
        self.values = values

    @classmethod
    def parse(cls, text: str, *, header: str = "If-Match") -> Self:
        """Parse a header.

        Raises:
            ClientException: 400, it is neither `*` nor a list of entity tags.
        """
        if text.strip() == "*":
            return cls(None)
        if len(text) > _MAX_LENGTH or not _LIST.fullmatch(text):
            raise ClientException(f"`{header}` must be `*` or a list of quoted entity tags.")
        found = _EACH.findall(text)
        return cls(frozenset(found) | {_CODING.sub("", value) for value in found})

    def match(self, etag: str | None) -> bool:
        """Return whether the current tag is in the list; `None`, for no resource, is not even in `*`."""
        if etag is None:
            return False
        return self.values is None or etag.removeprefix("W/")[1:-1] in self.values


def check_preconditions(request: Request[Any, Any, Any], etag: str | None) -> None:
    """Check `If-Match` and `If-None-Match` of a request that changes a resource, before it is changed.

    Requests that only read need no call: the response's `ETag` decides.

    Args:
        request: The request.
        etag: The current tag of the resource; `None` if it does not exist.

    Raises:
        ClientException: 412, a condition is false; 400, a header is malformed.
    """
    for header, is_expected, detail in (("If-Match", True, _CHANGED), ("If-None-Match", False, _EXISTS)):
        text = ", ".join(request.headers.getall(header, []))
        if text and EntityTags.parse(text, header=header).match(etag) is not is_expected:
            raise ClientException(detail, status_code=412)


class ReadPreconditions:
    """Gate of a GET or HEAD: 304 if the client has the response already, 412 if it requires another one.

    Args:
        exchange: A request with at least one of the headers.
    """

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange

    async def __call__(self, response: Response) -> None:
        """Change the response before it is sent; only a 200 with an `ETag` has a version to compare."""
        etag = next((value.decode("latin-1") for name, value in response.headers if name == b"etag"), None)
        if response.status != _OK or etag is None:
            return
        if_match, if_none_match = map(self._parsed, ("If-Match", "If-None-Match"))
        if if_match is not None and not if_match.match(etag):
            raise HTTPException(_CHANGED, status_code=412)
        if if_none_match is not None and if_none_match.match(etag):
            response.status = _NOT_MODIFIED
            response.headers = [header for header in response.headers if _is_kept(header)]
            self._exchange.omit_body()

    def _parsed(self, header: str) -> EntityTags | None:
        text = self._exchange.headers.get(header.lower().encode())
        return None if text is None else EntityTags.parse(text.decode("latin-1"), header=header)


def _is_kept(header: Header) -> bool:
    # RFC 9110, 15.4.5: headers of the content would describe what is not sent.
    return header[0] not in _OF_CONTENT

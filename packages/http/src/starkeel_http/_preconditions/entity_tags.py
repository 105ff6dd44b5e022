"""Entity tags in `If-Match` and `If-None-Match` (RFC 9110, 13.1), also those of compressed responses."""

import re
from typing import Any, Final, Self

from litestar import Request
from litestar.exceptions import ClientException

_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST: Final = re.compile(rf"[ \t]*{_TAG}(?:[ \t]*,[ \t]*{_TAG})*[ \t]*")
_EACH: Final = re.compile(r'(?:W/)?"[^"]*"')
# Apache, Caddy and Jetty mark the tag of a response that they compress; others make it weak.
# So do these services, and a proxy may add another mark.
_CODING: Final = re.compile("(?:(?:--?|[;:])(?:gzip|br|zstd|deflate))+$")
_CODING_NAME: Final = re.compile("gzip|br|zstd|deflate")
_MAX_LENGTH: Final = 4096
_CHANGED: Final = "The resource has changed since it was read, or does not exist. Read it again."
_EXISTS: Final = "The resource exists already, or has not changed."


class EntityTags:
    """A list of entity tags, or `*`.

    A weak tag, and one with the name of a coding at its end, matches the tag without: it names the same
    version. RFC 9110, 13.1.1, requires a strong comparison, which the tag of a response that a proxy has
    compressed never passes. Versions have strong tags: a weak one is the mark of a proxy.

    Attributes:
        pattern: Pattern of a header, for the OpenAPI document.
        values: The opaque parts, with and without marks of codings; `None` for `*`.
        listed: The tags as they were sent.
    """

    pattern: Final = rf"^(?:\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG})*)$"

    def __init__(self, values: frozenset[str] | None, listed: frozenset[str] = frozenset()) -> None:
        self.values = values
        self.listed = listed

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
        tags = [found[0] for found in _EACH.finditer(text)]
        values = [opaque_of(tag) for tag in tags]
        return cls(frozenset(values) | {_CODING.sub("", value) for value in values}, frozenset(tags))

    def match(self, etag: str | None) -> bool:
        """Return whether the current tag is in the list; `None`, for no resource, is not even in `*`."""
        if etag is None:
            return False
        return self.values is None or opaque_of(etag) in self.values

    def codings_of(self, etag: str) -> list[str]:
        """Return the coding of each listed tag that matches a tag: `identity` for one without a mark."""
        sought, codings = opaque_of(etag), []
        for value in map(opaque_of, self.listed):
            if value == sought:
                codings.append("identity")
            elif _CODING.sub("", value) == sought:
                codings.append(_CODING_NAME.findall(value)[-1])
        return codings


def opaque_of(etag: str) -> str:
    """Return the opaque part of an entity tag."""
    return etag.removeprefix("W/")[1:-1]


def check_preconditions(request: Request[Any, Any, Any], etag: str | None) -> None:
    """Check `If-Match` and `If-None-Match` of a request that changes a resource, before it is changed.

    Requests that only read need no call: the response's `ETag` decides. `If-Unmodified-Since` has no effect:
    a resource may change twice in a second.

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

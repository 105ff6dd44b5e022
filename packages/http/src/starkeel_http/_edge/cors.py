"""Cross-origin resource sharing (Fetch standard, 3.2)."""

from collections.abc import Iterable
from typing import Final

from starkeel_asgi import Header

from .._base.addresses import Origin

_METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_MAX_AGE_S: Final = b"600"
_EXPOSED: Final = b"X-Request-ID, Retry-After, RateLimit, RateLimit-Policy, ETag, Location, Link"
_VARY: Final = (b"vary", b"Origin")
_MAX_REQUEST_HEADERS_BYTES: Final = 4096


class Cors:
    """CORS headers for a set of allowed origins.

    Credentials in the sense of the standard (cookies, client certificates) are never allowed: access tokens
    are sent in a header, which a page sets itself.

    Args:
        origins: Exact origins, or `*`.
    """

    def __init__(self, origins: Iterable[Origin]) -> None:
        self._allowed = {origin.encode("latin-1") for origin in origins}
        self._any = b"*" in self._allowed
        # Responses differ by origin; caches need `Vary` even on a response to a request without `Origin`.
        self._foreign: tuple[Header, ...] = (_VARY,) if self._allowed and not self._any else ()
        self._by_origin = {origin: self._headers_for(origin) for origin in self._allowed}

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def allows(self, origin: bytes) -> bool:
        """Return whether pages of this origin may read responses."""
        return self._any or origin in self._allowed

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """Return the CORS headers of a response.

        Args:
            origin: `Origin` of the request.
        """
        if self._any:
            return self._by_origin[b"*"] if origin is not None else ()
        return self._by_origin.get(origin, self._foreign) if origin is not None else self._foreign

    def preflight(self, requested: bytes | None) -> list[Header]:
        """Return the additional headers of the response to an allowed preflight.

        Args:
            requested: `Access-Control-Request-Headers` of the request; an allowed origin may send any header.
        """
        headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", _MAX_AGE_S),
            (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
        ]
        if requested and len(requested) <= _MAX_REQUEST_HEADERS_BYTES:
            headers.append((b"access-control-allow-headers", requested))
        return headers

    def _headers_for(self, origin: bytes) -> tuple[Header, ...]:
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            *self._foreign,
        )

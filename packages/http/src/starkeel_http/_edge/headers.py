"""Response headers: security defaults, and cross-origin resource sharing."""

from collections.abc import Iterable, Mapping
from typing import Final

from starkeel_asgi import Header

from .._base.addresses import Origin

# OWASP REST Security Cheat Sheet, which has the last two only for responses that a browser renders.
SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    # Granian would name itself; it keeps a header that is there, and adds one otherwise.
    (b"server", b"-"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
HTTPS_HEADERS: Final[tuple[Header, ...]] = ((b"strict-transport-security", b"max-age=31536000"),)
PAGE_HEADERS: Final[tuple[Header, ...]] = (
    (
        b"permissions-policy",
        b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (b"referrer-policy", b"no-referrer"),
)

_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}
_METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_MAX_AGE_S: Final = b"600"
_EXPOSED: Final = b"X-Request-ID, Retry-After, RateLimit, RateLimit-Policy, ETag, Location, Link"
_MAX_REQUEST_HEADERS_BYTES: Final = 4096


class Cors:
    """CORS headers for a set of allowed origins (Fetch standard, 3.2).

    Credentials in the sense of the standard (cookies, client certificates) are never allowed: access tokens
    are sent in a header, which a page sets itself.

    Args:
        origins: Exact origins, or `*`.
    """

    def __init__(self, origins: Iterable[Origin]) -> None:
        allowed = {origin.encode("latin-1") for origin in origins}
        self._any = b"*" in allowed
        # Responses differ by origin; caches need `Vary` even on a response to a request without `Origin`.
        self._foreign: tuple[Header, ...] = () if self._any else ((b"vary", b"Origin"),)
        self._by_origin: dict[bytes | None, tuple[Header, ...]] = {
            origin: (
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", _EXPOSED),
                *self._foreign,
            )
            for origin in allowed
        }

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """Return the CORS headers of a response to a request with this `Origin`."""
        if self._any and origin is not None:
            origin = b"*"
        return self._by_origin.get(origin, self._foreign)

    def allows(self, origin: bytes) -> bool:
        """Return whether pages of an origin may use the service."""
        return self._any or origin in self._by_origin

    def preflight(self, request: Mapping[bytes, bytes]) -> list[Header] | None:
        """Return the additional headers of the response to an allowed preflight; None for other requests.

        Args:
            request: Headers of the request; an allowed origin may send any `Access-Control-Request-Headers`.
        """
        is_allowed = b"origin" in request and self.allows(request[b"origin"])
        if not is_allowed or b"access-control-request-method" not in request:
            return None
        headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", _MAX_AGE_S),
            (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
        ]
        requested = request.get(b"access-control-request-headers")
        if requested and len(requested) <= _MAX_REQUEST_HEADERS_BYTES:
            headers.append((b"access-control-allow-headers", requested))
        return headers


def is_same_origin(origin: bytes, host: bytes) -> bool:
    """Return whether `Origin` names the host that `Host` names; a default port may be left out.

    The scheme is not compared: the service does not know that of a proxy which it does not trust.
    """
    scheme, _, given = origin.lower().partition(b"://")
    port = _DEFAULT_PORTS.get(scheme)
    if port is None:
        return False
    return bool(given) and given.removesuffix(port) == host.lower().removesuffix(port)

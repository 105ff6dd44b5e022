"""Default security headers (OWASP REST Security Cheat Sheet)."""

from collections.abc import Iterable
from typing import Final

Header = tuple[bytes, bytes]

_ALWAYS: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (
        b"permissions-policy",
        b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_SECURE: Final[tuple[Header, ...]] = (*_ALWAYS, (b"strict-transport-security", b"max-age=31536000"))
_NAMES: Final = frozenset(name for name, _ in _SECURE)


def with_security_headers(
    headers: list[Header], *, is_secure: bool, more: Iterable[Header] = ()
) -> list[Header]:
    """Return a response's headers with the defaults added; headers that are present are not replaced.

    Args:
        headers: The response's headers, names in lower case as ASGI requires.
        is_secure: Whether the client uses TLS, to this server or to a trusted proxy.
        more: Headers to add in any case.
    """
    defaults = _SECURE if is_secure else _ALWAYS
    present = {name for name, _ in headers}
    if present.isdisjoint(_NAMES):
        return [*headers, *defaults, *more]
    return [*headers, *[header for header in defaults if header[0] not in present], *more]

"""Headers that make a browser careful (OWASP REST Security Cheat Sheet)."""

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
    """Return an answer's headers with ours, which never replace one that is there.

    Args:
        headers: The answer's, their names in lower case, as ASGI has them.
        is_secure: Whether the client speaks TLS, be it to a proxy.
        more: Headers that are added in any case.
    """
    ours = _SECURE if is_secure else _ALWAYS
    present = {name for name, _ in headers}
    if present.isdisjoint(_NAMES):
        return [*headers, *ours, *more]
    return [*headers, *[header for header in ours if header[0] not in present], *more]

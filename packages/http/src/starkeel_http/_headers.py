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


def completed(headers: Iterable[Header], *, is_secure: bool, more: Iterable[Header] = ()) -> list[Header]:
    """Return an answer's headers with ours, which never replace one that is there.

    Args:
        headers: The answer's.
        is_secure: Whether the client speaks TLS, be it to a proxy.
        more: Headers that are added in any case.
    """
    complete = list(headers)
    present = {name.lower() for name, _ in complete}
    complete += [header for header in (_SECURE if is_secure else _ALWAYS) if header[0] not in present]
    complete += more
    return complete

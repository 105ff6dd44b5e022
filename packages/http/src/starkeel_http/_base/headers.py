"""Default security headers (OWASP REST Security Cheat Sheet)."""

from typing import Final

from starkeel_asgi import Header

SECURITY_HEADERS: Final[tuple[Header, ...]] = (
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
SECURITY_HEADERS_HTTPS: Final[tuple[Header, ...]] = (
    *SECURITY_HEADERS,
    (b"strict-transport-security", b"max-age=31536000"),
)

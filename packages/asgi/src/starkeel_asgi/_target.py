"""Request targets: which of them name a resource, and which are read differently by different programs."""

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Final
from urllib.parse import quote, unquote, unquote_to_bytes

# RFC 3986, 3.3: unreserved characters, sub-delimiters, ":" and "@".
_IN_SEGMENT: Final = "-._~!$&'()*+,;=:@"
_CANONICAL: Final = re.compile(r"(?:/(?!\.{1,2}(?:[/;]|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+)+/?|/").fullmatch
_VALID: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*").fullmatch
_ESCAPE: Final = re.compile("%[0-9A-Fa-f]{2}")
_DOTS: Final = re.compile(rb"\.{1,2}(?:;.*)?", re.DOTALL).fullmatch
_FORBIDDEN: Final = re.compile(rb"[\x00-\x1f\x7f/\\]").search


def raw_path_of(scope: Any) -> str:
    """Return the path of a request as the client sent it, without its query."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        # Optional in ASGI.
        return quote(scope["path"], safe="/" + _IN_SEGMENT)
    return raw.partition(b"?")[0].decode("latin-1")


def why_ambiguous(raw_path: str) -> str | None:
    """Return why a path is refused, for the client; `None` if every program reads it the same way.

    Proxies and routers merge empty segments, resolve dot segments, decode escapes and drop `;` parameters at
    different moments: a rule of a proxy would apply to one path, and another would be served.
    """
    if _CANONICAL(raw_path):
        return None
    if not raw_path.startswith("/"):
        return "The request target must be a path."
    if "//" in raw_path:
        return "The path has an empty segment."
    if not _VALID(raw_path):
        return "The path has a character that must be percent-encoded, or an invalid percent-encoding."
    decoded = [unquote_to_bytes(segment) for segment in raw_path.split("/")[1:]]
    if any(map(_DOTS, decoded)):
        return "The path has a dot segment."
    if any(map(_FORBIDDEN, decoded)):
        return "The path has an encoded slash, backslash or control character."
    try:
        b"/".join(decoded).decode()
    except UnicodeDecodeError:
        return "The path is not valid UTF-8."
    return None


def is_literal(raw_path: str, path: str, expected: Sequence[str | None]) -> bool:
    """Return whether the fixed segments of a route stand in a path as they are, not escaped.

    `/%61dmin` is equivalent to `/admin` (RFC 3986, 6.2.2.2), but a proxy's rule for the latter ignores it.

    Args:
        raw_path: The path as the client sent it; a mounted application has the last part of it.
        path: The path that was routed, decoded.
        expected: Decoded segments of the route; `None` for a parameter. Further segments are a parameter.
    """
    decoded = [segment for segment in path.split("/") if segment]
    sent = [segment for segment in raw_path.split("/") if segment]
    sent = sent[len(sent) - len(decoded) :]
    if [unquote(segment) for segment in sent] != decoded:
        # Something between server and application rewrote the path.
        return True
    return all(
        fixed is None or _upper_escapes(segment or "") == quote(fixed, safe=_IN_SEGMENT)
        for segment, fixed in zip_longest(sent, expected)
    )


def _upper_escapes(segment: str) -> str:
    return _ESCAPE.sub(lambda found: found[0].upper(), segment)

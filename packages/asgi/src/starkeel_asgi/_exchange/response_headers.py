"""Headers of responses."""

from collections.abc import Iterable
from typing import Any, Final

from .config import REQUEST_ID, Header

_JSON: Final = frozenset({b"application/json", b"application/problem+json"})
"""Values of `Content-Type`, as they are usually sent."""
_OF_CONTENT: Final = frozenset({b"content-length", b"content-type"})
_UNAVAILABLE: Final = (
    b'{"type":"about:blank","title":"Service Unavailable","status":503,'
    b'"detail":"The service is shutting down and could not finish this request."}'
)
UNAVAILABLE: Final[tuple[list[Header], bytes]] = (
    [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(_UNAVAILABLE)),
        (b"retry-after", b"1"),
    ],
    _UNAVAILABLE,
)
"""Headers and body of the response to a request that the service cannot finish."""


def completed_headers(exchange: Any, given: Iterable[Header], names: dict[bytes, bytes]) -> list[Header]:
    """Return the application's headers with the defaults, those that were added, and the request id."""
    config = exchange.config
    sets = config.json_headers if names.get(b"content-type") in _JSON else config.page_headers
    defaults = sets[exchange.facts[4] == "https"]
    id_bytes = exchange.id_bytes
    if config.header_names.isdisjoint(names):
        headers = [*given, *defaults, *exchange.added_headers]
    else:
        headers = [header for header in given if header[0] != REQUEST_ID or not id_bytes]
        headers += [header for header in defaults if header[0] not in names]
        headers += exchange.added_headers
    if id_bytes:
        headers.append((REQUEST_ID, id_bytes))
    return headers


def without_content(headers: Iterable[Header]) -> list[Header]:
    """Return the headers of a response that must not have content (RFC 9110, 15.3.6)."""
    return [*(header for header in headers if header[0] not in _OF_CONTENT), (b"content-length", b"0")]

"""Header fields, and the settings that all exchanges of an application share."""

from collections.abc import Callable, Iterable
from typing import Any, Final

Header = tuple[bytes, bytes]
"""Name in lower case, as ASGI requires, and value."""

REQUEST_ID: Final = b"x-request-id"
_STOPPING: Final = (
    b'{"type":"about:blank","title":"Service Unavailable","status":503,'
    b'"detail":"The service is shutting down and could not finish this request."}'
)
UNAVAILABLE: Final[tuple[int, list[Header], bytes]] = (
    503,
    [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(_STOPPING)).encode()),
        (b"retry-after", b"1"),
    ],
    _STOPPING,
)
"""Response to a request that the service could not finish before it stopped."""


class ExchangeConfig:
    """Settings of all exchanges of one application; layers set them when the application starts."""

    def __init__(self) -> None:
        self.loop: Any = None
        """The event loop of the last exchange; `asyncio.get_running_loop()` costs a system call."""
        self.layer_types: frozenset[type] = frozenset()
        """The kinds of layers around the application."""
        self.body_timeout_s: float | None = None
        """Seconds that a client may keep the application waiting for a request's body."""
        self.before_headers: Callable[[Any], None] | None = None
        """Called with the exchange before the headers of a response are completed."""
        self.close_message: Callable[[Any], Any] | None = None
        """Returns the message that closes a WebSocket, given the application's."""
        self.set_default_headers(http=(), https=())

    def set_default_headers(self, *, http: tuple[Header, ...], https: tuple[Header, ...]) -> None:
        """Set the headers that each response has unless it sets them itself."""
        self.headers_http, self.headers_https = http, https
        self.header_names = frozenset({REQUEST_ID, *(name for name, _ in (*http, *https))})


_RESET_CONTENT: Final = 205
USUAL_STATUSES: Final = frozenset(range(200, 600)) - {_RESET_CONTENT}
"""Statuses of final responses (RFC 9110, 15) that need no attention."""


def content_headers(status: Any, headers: Iterable[Header]) -> list[Header]:
    """Return the headers of a response that must not have content (RFC 9110, 15.3.6).

    Raises:
        ValueError: It is no status of a final response; Granian's worker would not survive it.
    """
    if status != _RESET_CONTENT:
        raise ValueError(f"a response has the status {status!r}; it must be a number from 200 to 599")
    kept = [header for header in headers if header[0] not in {b"content-length", b"content-type"}]
    return [*kept, (b"content-length", b"0")]


def header_map(headers: Iterable[Header]) -> dict[bytes, bytes]:
    """Return header values by name; the values of a repeated name are joined.

    Joined with a comma (RFC 9110, 5.3), cookies with a semicolon (RFC 9113, 8.2.3): nothing is dropped, and a
    field that may stand only once becomes invalid instead of ambiguous.
    """
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in joined:
            joined[name] += (b"; " if name == b"cookie" else b", ") + value
        else:
            joined[name] = value
    return joined

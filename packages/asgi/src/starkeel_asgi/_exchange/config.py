"""Settings that all exchanges of an application share."""

from collections.abc import Callable
from typing import Any

from .headers import Header

REQUEST_ID = b"x-request-id"


class ExchangeConfig:
    """Settings of all exchanges of one application; layers set them when the application starts."""

    __slots__ = (
        *(
            "before_headers",
            "body_timeout_s",
            "close_message",
            "header_names",
            "headers_http",
            "headers_https",
        ),
        "layer_types",
    )

    def __init__(self) -> None:
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

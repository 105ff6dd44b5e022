"""Header fields, and the settings that all exchanges of an application share."""

from collections.abc import Callable, Iterable
from typing import Any, Final

Header = tuple[bytes, bytes]
"""Name in lower case, as ASGI requires, and value."""

REQUEST_ID: Final = b"x-request-id"
FORWARDING: Final = frozenset(
    [b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-original-forwarded-for", b"x-real-ip"]
)
"""Request headers that proxies add. Not `x-forwarded-proto`: sidecars of a service mesh add it as well."""


class ExchangeConfig:
    """Settings of all exchanges of one application; layers set them when the application starts."""

    def __init__(self) -> None:
        self.loop: Any = None
        """The event loop of the last exchange; `asyncio.get_running_loop()` costs a system call."""
        self.layer_types: frozenset[type] = frozenset()
        """The kinds of layers around the application."""
        self.body_timeout_s: float | None = None
        """Seconds that a client may keep the application waiting for a request's body."""
        self.max_message_bytes: int | None = None
        """Size from which a WebSocket message is refused; `None` for no limit."""
        self.max_streams: int | None = None
        """Event streams and WebSockets that the server can keep beside requests; `None` if unknown."""
        self.load_policy: Any = None
        """Decides which requests are refused under load; `None` for none."""
        self.is_trusted_peer: Callable[[str], bool] = lambda _: False
        """Returns whether an address is that of a trusted proxy."""
        self.is_host_allowed: Callable[[bytes | None, str], bool] | None = None
        """Returns whether a request with this `Host` and scheme is served; `None` for every host."""
        self.before_headers: Callable[[Any], None] | None = None
        """Called with the exchange before the headers of a response are completed."""
        self.close_message: Callable[[Any], Any] | None = None
        """Returns the message that closes a WebSocket, given the application's."""
        self.problem_types_url: str | None = None
        """Start of the URIs of problem types; `None` for `about:blank`."""
        self.is_internal: Callable[[str], bool] = is_loopback
        """Returns whether an address belongs to a service of the same system."""
        self.set_default_headers(())

    def set_default_headers(
        self, every: tuple[Header, ...], *, https: tuple[Header, ...] = (), pages: tuple[Header, ...] = ()
    ) -> None:
        """Set the headers that each response has unless it sets them itself.

        Args:
            every: Headers of all responses.
            https: Further headers where the client uses HTTPS.
            pages: Further headers where the content is not JSON, so that a browser may render it.
        """
        self.json_headers = every, (*every, *https)
        self.page_headers = (*every, *pages), (*every, *https, *pages)
        self.header_names = frozenset({REQUEST_ID, *(name for name, _ in (*every, *https, *pages))})


def is_loopback(address: str) -> bool:
    """Return whether an IP address is a loopback address, also in an IPv4-mapped form."""
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")


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

"""Headers of responses."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from .config import REQUEST_ID, Header

_JSON: Final = frozenset({b"application/json", b"application/problem+json"})
"""Values of `Content-Type`, as they are usually sent."""
_OF_CONTENT: Final = frozenset({b"content-length", b"content-type"})
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
_RESET_CONTENT: Final = 205
USUAL_STATUSES: Final = frozenset(range(200, 600)) - {_RESET_CONTENT}
"""Statuses of final responses (RFC 9110, 15) that need no attention."""


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
    if exchange.must_close:
        headers = [header for header in headers if header[0] != b"connection"]
        headers.append((b"connection", b"close"))
    return headers


def content_headers(status: Any, headers: Iterable[Header]) -> list[Header]:
    """Return the headers of a response that must not have content (RFC 9110, 15.3.6).

    Raises:
        ValueError: It is no status of a final response; Granian's worker would not survive it.
    """
    if status != _RESET_CONTENT:
        raise ValueError(f"a response has the status {status!r}; it must be a number from 200 to 599")
    kept = [header for header in headers if header[0] not in _OF_CONTENT]
    return [*kept, (b"content-length", b"0")]


class HeadersOnly:
    """Sends a response without its body.

    Args:
        send: Sends a message to the server.
        omit_rest: Called before the end is sent, with whether the application would send more of the body.
    """

    __slots__ = ("_omit_rest", "_send")

    def __init__(self, send: Callable[[Any], Awaitable[None]], omit_rest: Callable[..., None]) -> None:
        self._send = send
        self._omit_rest = omit_rest

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
            return
        self._omit_rest(is_streaming=message.get("more_body", False))
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

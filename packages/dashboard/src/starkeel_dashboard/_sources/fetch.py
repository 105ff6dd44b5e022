"""HTTP requests to services on this machine."""

import asyncio
from typing import Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import msgspec

from .._store.reader import traceparent

_MAX_BYTES: Final = 16 * 1024 * 1024
_TIMEOUT_S: Final = 3.0


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


# Without a proxy, as the services are on this machine; without redirects, which could lead elsewhere.
_opener: Final = build_opener(ProxyHandler({}), _NoRedirect())


class Answer(msgspec.Struct, frozen=True):
    """Response of a service."""

    status: int
    headers: dict[str, str]
    body: bytes


async def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Answer:
    """Send a request and return the response, whatever its status.

    Args:
        url: Address, `http` or `https`.
        method: Method of the request.
        headers: Its header fields; by default it belongs to a trace that is not kept.
        body: Its body.
        timeout_s: Seconds that connecting, and each read, may take.

    Raises:
        OSError: There is no response.
        ValueError: The URL is invalid.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no URL of http or https")
    given = {"traceparent": traceparent()} | (headers or {})
    request = Request(url, data=body, headers=given, method=method)  # noqa: S310 - checked above
    return await asyncio.to_thread(_send, request, timeout_s)


def _send(request: Request, timeout_s: float) -> Answer:
    try:
        response = _opener.open(request, timeout=timeout_s)
    except HTTPError as error:
        response = error
    with response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, response.read(_MAX_BYTES))

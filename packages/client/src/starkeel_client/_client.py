"""What a handler calls an upstream with."""

import time
from collections.abc import Mapping
from typing import Any, final

import httpx2
from litestar.serialization import encode_json

from ._call import Call, Method, url_of
from ._upstream import Upstream


@final
class UpstreamClient:
    """Calls one upstream on behalf of one request; made by `ClientPlugin`, one for each request.

    It ends no later than its request does, sends trace, request id and the time that is left along, and
    repeats what may be repeated. What the upstream answers is returned whatever its status, but 502, 503 and
    504. The caller's credentials are never sent by themselves: pass `Authorization` where the upstream should
    know who asks.

    Args:
        upstream: The pool.
        scope: The ASGI scope of the request; empty for calls that no request waits for.
    """

    __slots__ = ("_scope", "_upstream")

    def __init__(self, upstream: Upstream, scope: Mapping[str, Any]) -> None:
        self._upstream = upstream
        self._scope = scope

    async def get(
        self,
        path: str,
        *,
        route: str | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Ask for something; see `request`."""
        return await self.request("GET", path, route=route, params=params, headers=headers)

    async def post(
        self,
        path: str,
        *,
        route: str | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
    ) -> httpx2.Response:
        """Send something, once, unless the headers hold an `Idempotency-Key`; see `request`."""
        return await self.request("POST", path, route=route, headers=headers, json=json)

    async def request(
        self,
        method: Method,
        path: str,
        *,
        route: str | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
    ) -> httpx2.Response:
        """Make a call and return its answer, read to the end.

        Args:
            method: The HTTP method.
            path: Path below the upstream's URL, quoted, without a query.
            route: The template the path was made by (`/api/orders/{id}`), which names the call in telemetry.
            params: The query.
            headers: Headers to send besides those that are always sent, which win.
            json: What to send as JSON, whatever Litestar can write as such; None for no body.

        Raises:
            ServiceUnavailableException: The upstream is away, with `Retry-After`.
            HTTPException: 504, the request's time is over; 502, the answer cannot be read.
            ValueError: The path would lead elsewhere.
        """
        sent = httpx2.Headers(dict(headers or {}))
        if json is not None:
            sent.setdefault("Content-Type", "application/json")
        ends_at, is_bound_by_request = self._ends_at()
        call = Call(
            method=method,
            url=url_of(self._upstream.settings.url, path, params),
            route=route,
            headers=sent,
            content=None if json is None else encode_json(json),
            ends_at=ends_at,
            is_bound_by_request=is_bound_by_request,
        )
        return await self._upstream.send(call)

    def _ends_at(self) -> tuple[float, bool]:
        """When to give up, and whether it is the request that ends then."""
        own = time.monotonic() + self._upstream.settings.timeout_s
        # Read at each call: a route may have got a deadline of its own since.
        deadline = self._scope.get("state", {}).get("deadline")
        return (deadline, True) if isinstance(deadline, int | float) and deadline <= own else (own, False)

"""The client that handlers use."""

import re
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, final
from urllib.parse import unquote

import httpx2
from litestar.serialization import encode_json
from litestar.types import Scope

from ._attempt import Call, Method
from ._contract import check, decode
from ._upstream import Upstream

T = TypeVar("T")

_UNAUTHORIZED = 401
_PATH = re.compile(r"/(?!/)[^\s?#\\]*")


@final
@dataclass(frozen=True, slots=True, eq=False)
class UpstreamClient:
    """Calls one upstream on behalf of one request. Created by `ClientPlugin` for each request.

    A call never exceeds the request's deadline, propagates trace, request id and remaining time, and is
    retried if that is safe. Responses are returned whatever their status, except 502, 503 and 504. The
    request's credentials are not forwarded automatically: pass `Authorization` if the upstream needs it. With
    `TOKEN_URL` calls without it are sent with an access token of this service.

    The ASGI scope is empty for calls outside of a request.
    """

    _upstream: Upstream
    _scope: Mapping[str, Any]

    async def get(
        self,
        path: str,
        *,
        route: str | None = None,
        params: Mapping[str, str | None] | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> httpx2.Response:
        """Send a GET request; see `request`."""
        return await self.request("GET", path, route=route, params=params, headers=headers)

    async def post(
        self,
        path: str,
        *,
        route: str | None = None,
        headers: Mapping[str, str | None] | None = None,
        json: object = None,
    ) -> httpx2.Response:
        """Send a POST request; retried only with an `Idempotency-Key` header. See `request`."""
        return await self.request("POST", path, route=route, headers=headers, json=json)

    async def request(
        self,
        method: Method,
        path: str,
        *,
        route: str | None = None,
        params: Mapping[str, str | None] | None = None,
        headers: Mapping[str, str | None] | None = None,
        json: object = None,
    ) -> httpx2.Response:
        """Make a call and return the complete response.

        Args:
            method: HTTP method.
            path: Path below the upstream's URL, quoted, without a query.
            route: Path template (`/api/orders/{id}`) that names the call in telemetry.
            params: Query parameters; those that are None are omitted.
            headers: Additional headers, except those that are None; propagated headers take precedence.
            json: Body to encode as JSON, of any type that Litestar encodes; None for no body.

        Raises:
            ServiceUnavailableException: The upstream is unavailable; with `Retry-After`.
            HTTPException: 504 when the request's deadline has passed, 502 when the response is invalid.
            ValueError: The path is invalid.
        """
        sent = httpx2.Headers(_given(headers))
        if json is not None:
            sent.setdefault("Content-Type", "application/json")
        ends_at, is_bound_by_request = self._ends_at()
        tokens = self._upstream.tokens
        used = None
        if tokens is not None and "authorization" not in sent:
            used = await tokens.get(ends_at=ends_at)
            sent["Authorization"] = f"Bearer {used}"
        call = Call(
            method=method,
            url=url_of(self._upstream.settings.url, path, _given(params)),
            route=route,
            headers=sent,
            content=None if json is None else encode_json(json),
            ends_at=ends_at,
            is_bound_by_request=is_bound_by_request,
        )
        response = await self._upstream.send(call)
        if tokens is not None and used is not None and response.status_code == _UNAUTHORIZED:
            tokens.discard(used)
        return response

    def decode(
        self,
        response: httpx2.Response,
        kind: type[T],
        *,
        status: int | Container[int] = 200,
        problems: Container[int] = (),
    ) -> T:
        """Return the body of a response, if it is as its contract requires; otherwise log and raise.

        Args:
            response: A response of this upstream.
            kind: Type of the JSON body. Members that it does not have are ignored.
            status: The status that the contract gives to this body, or several.
            problems: The statuses for which the contract has problem details (RFC 9457).

        Raises:
            UpstreamProblemError: The status is one of `problems`, with problem details.
            HTTPException: 502 when status, media type or body are others.
            ServiceUnavailableException: Instead, if the status is 429 or 500: with the upstream's
                `Retry-After`.
        """
        statuses = (status,) if isinstance(status, int) else status
        return decode(self._upstream.name, response, kind, statuses, problems)

    def check(
        self, response: httpx2.Response, *, status: int | Container[int], problems: Container[int] = ()
    ) -> None:
        """Raise as `decode`, for a response without a body that matters."""
        check(self._upstream.name, response, (status,) if isinstance(status, int) else status, problems)

    def _ends_at(self) -> tuple[float, bool]:
        """Return the deadline of a call, and whether it is that of the request."""
        own = time.monotonic() + self._upstream.settings.timeout_s
        # Read for each call, because a route may change the deadline.
        deadline = self._scope.get("state", {}).get("deadline")
        return (deadline, True) if isinstance(deadline, int | float) and deadline <= own else (own, False)


def provider(upstream: Upstream) -> Callable[..., UpstreamClient]:
    """Return the dependency that provides clients."""

    def provide(scope: Scope) -> UpstreamClient:
        return UpstreamClient(upstream, scope)

    return provide


def _given(values: Mapping[str, str | None] | None) -> dict[str, str]:
    return {name: value for name, value in (values or {}).items() if value is not None}


def url_of(base: str, path: str, params: Mapping[str, str] | None) -> httpx2.URL:
    """Append a path to a base URL.

    Raises:
        ValueError: The path does not start with a single slash, contains dot segments, a query or a fragment.
    """
    # Unquoted, because some servers decode a path before they resolve dot segments.
    if not _PATH.fullmatch(path) or {".", ".."} & set(unquote(path).split("/")):
        raise ValueError(f"{path!r} is not a valid path: quote its parts, and pass the query as `params`")
    try:
        return httpx2.URL(base + path, params=params or None)
    except httpx2.InvalidURL as error:
        raise ValueError(f"{path!r} is not a valid path: {error}") from None

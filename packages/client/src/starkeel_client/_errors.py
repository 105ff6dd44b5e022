"""Errors of calls; their messages contain the name of the upstream, never its address or its response."""

import math
from typing import Final

import httpx2
import msgspec
from litestar.exceptions import HTTPException, ServiceUnavailableException
from starkeel_config import parse_retry_after

_TOO_MANY_REQUESTS: Final = 429
_MAX_RETRY_AFTER_S: Final = 86_400.0


class BreakerOpenError(ServiceUnavailableException):
    """The circuit breaker of the upstream is open: no request was sent. Becomes 503 with `Retry-After`."""


class UpstreamBusyError(ServiceUnavailableException):
    """Too many requests of this worker to the upstream are open: no request was sent. It becomes 503 with
    `Retry-After`.
    """


class ProblemDetails(msgspec.Struct, frozen=True):
    """Problem details (RFC 9457): another server than the upstream, such as a proxy, does not send them."""

    status: int
    type: str = "about:blank"
    title: str = ""
    detail: str = ""


class UpstreamProblemError(HTTPException):
    """The upstream rejected a call with a status that its contract has, and sent problem details.

    It becomes 502 unless it is caught, or 503 if the upstream limits the caller (429).

    Args:
        upstream: Name of the upstream.
        problem: What it sent. The text is its own, and not passed on.
        retry_after_s: Seconds of its `Retry-After`.
    """

    def __init__(self, upstream: str, problem: ProblemDetails, retry_after_s: float | None) -> None:
        seconds = max(math.ceil(retry_after_s or 0), 1)
        is_limit = problem.status == _TOO_MANY_REQUESTS
        super().__init__(
            detail=f"{upstream} rejected the request.",
            status_code=503 if is_limit else 502,
            headers={"Retry-After": str(seconds)} if is_limit else None,
        )
        self.status = problem.status
        """Status of the upstream's response."""
        self.problem = problem
        self.retry_after_s = seconds
        """Whole seconds, at least 1, before the call may be repeated, if the status is 429."""


def busy(upstream: str) -> HTTPException:
    """Return the exception for a call beyond the limit of concurrent requests."""
    return UpstreamBusyError(f"Too many calls to {upstream} are in progress.", headers={"Retry-After": "1"})


def unavailable(
    upstream: str,
    response: httpx2.Response | None = None,
    *,
    retry_after_s: float = 0.0,
    kind: type[HTTPException] = ServiceUnavailableException,
) -> HTTPException:
    """Return the exception for an upstream that is unavailable, with the `Retry-After` of its response."""
    seconds = max(math.ceil(retry_after_seconds(response) or retry_after_s), 1)
    return kind(f"{upstream} is currently unavailable.", headers={"Retry-After": str(seconds)})


def invalid(upstream: str) -> HTTPException:
    """Return the exception for a response that cannot be processed."""
    return HTTPException(detail=f"The response of {upstream} is invalid.", status_code=502)


def retry_after_seconds(response: httpx2.Response | None) -> float | None:
    """Return the seconds of a response's `Retry-After`, at most a day; `None` if absent or invalid."""
    if response is None:
        return None
    return parse_retry_after(response.headers.get("retry-after"), max_s=_MAX_RETRY_AFTER_S)

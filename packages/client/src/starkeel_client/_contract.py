"""Check of a response against its contract: status, media type and shape."""

import re
from collections.abc import Container
from typing import Final, TypeVar

import httpx2
import msgspec
import structlog
from litestar.exceptions import HTTPException

from ._errors import ProblemDetails, UpstreamProblemError, invalid, retry_after_seconds, unavailable

T = TypeVar("T")

_JSON: Final = re.compile(r"application/(?:[a-z0-9!#$&^_.+-]+\+)?json", re.IGNORECASE)
_PLACE: Final = re.compile(r"at `(\$[^`]*)`")
_OVERLOADED: Final = frozenset({429, 500, 502, 503, 504})

log = structlog.get_logger(__name__)


def decode(
    upstream: str,
    response: httpx2.Response,
    kind: type[T],
    statuses: Container[int],
    problems: Container[int] = (),
) -> T:
    """Return the body of a response that is as its contract requires.

    Args:
        upstream: Name of the upstream.
        response: A response of it.
        kind: Type of the JSON body. Members that it does not have are ignored.
        statuses: The statuses that the contract gives to this body.
        problems: The statuses for which the contract has problem details.

    Raises:
        UpstreamProblemError: The status is one of a problem, with its details.
        ServiceUnavailableException: The status is not one of them, but one of an overloaded service.
        HTTPException: 502 for other violations.
    """
    check(upstream, response, statuses, problems)
    return _body(upstream, response, kind)


def check(
    upstream: str, response: httpx2.Response, statuses: Container[int], problems: Container[int] = ()
) -> None:
    """Check the status of a response; see `decode`."""
    status = response.status_code
    if status in statuses:
        return
    if status in problems and _is_problem(response):
        problem = _body(upstream, response, ProblemDetails)
        if problem.status == status:
            raise UpstreamProblemError(upstream, problem, retry_after_seconds(response))
    _log(upstream, response, "status")
    raise unavailable(upstream, response) if status in _OVERLOADED else invalid(upstream)


def _body(upstream: str, response: httpx2.Response, kind: type[T]) -> T:
    if not _JSON.fullmatch(_media_type(response)):
        raise _violation(upstream, response, "media type")
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.ValidationError as error:
        # The rest of the message may quote the body.
        place = _PLACE.search(str(error))
        raise _violation(upstream, response, f"shape at {place[1]}" if place else "shape") from None
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise _violation(upstream, response, "not JSON") from None


def _media_type(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip()


def _is_problem(response: httpx2.Response) -> bool:
    return _media_type(response).lower() == "application/problem+json"


def _violation(upstream: str, response: httpx2.Response, reason: str) -> HTTPException:
    _log(upstream, response, reason)
    return invalid(upstream)


def _log(upstream: str, response: httpx2.Response, reason: str) -> None:
    """Log a violation without the body, which may contain personal data or secrets."""
    request = response.request
    log.error(
        "upstream response invalid",
        upstream=upstream,
        method=request.method,
        route=request.extensions.get("route"),
        status=response.status_code,
        media_type=response.headers.get("content-type", "")[:100],
        reason=reason,
    )

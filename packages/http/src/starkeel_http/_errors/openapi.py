"""Problem details in a service's OpenAPI document."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import Meta

from .problem import MEDIA_TYPE
from .validation import FieldError

_DESCRIPTIONS = {
    400: "The request is malformed or invalid; `errors` lists each invalid field.",
    401: "The access token is missing, expired, forged or for another audience.",
    403: "The caller has no permission.",
    404: "The resource does not exist or is not visible to the caller.",
    409: "The request conflicts with the current state of the resource.",
    412: "`If-Match` or `If-None-Match` is false for the current version of the resource.",
    413: "The body is larger than the limit.",
    415: "The media type or the coding of the body is not accepted.",
    422: "The request is well-formed, but cannot be processed.",
    428: "`If-Match` is required.",
    429: "The rate limit is exceeded; `Retry-After` holds the seconds to wait.",
    502: "An upstream service returned an invalid response.",
    503: "A required service is unavailable; `Retry-After` holds the seconds to wait.",
    504: "The request timed out.",
}


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Problem details (RFC 9457). Further members may be present."""

    type: Annotated[str, Meta(examples=["about:blank"])]
    title: Annotated[str, Meta(description="Reason phrase of the status.", examples=["Not Found"])]
    status: Annotated[int, Meta(examples=[404])]
    detail: Annotated[str, Meta(description="Description of this occurrence.")] = ""
    instance: Annotated[str, Meta(description="Path of the request.")] = ""
    request_id: Annotated[str, Meta(description="`X-Request-ID` of the response, also found in the log.")] = (
        ""
    )
    errors: Annotated[tuple[FieldError, ...], Meta(description="Invalid fields of the request.")] = ()


def problem_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Return a handler's `responses` for the problems it may return.

    Args:
        statuses: Status codes; each gets its usual description.
    """
    return {status: _response(status) for status in sorted(statuses)}


def _response(status: int) -> ResponseSpec:
    title = HTTPStatus(status).phrase
    example = {"type": "about:blank", "title": title, "status": status}
    return ResponseSpec(
        ProblemDetails,
        generate_examples=False,
        description=_DESCRIPTIONS.get(status, title),
        media_type=MEDIA_TYPE,
        examples=[Example(summary=title, value=example)],
    )

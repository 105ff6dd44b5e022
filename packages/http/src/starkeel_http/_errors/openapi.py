"""Problem details in the OpenAPI document of a service."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import Meta

from .validation import FieldError

_WHEN = {
    400: "The request cannot be read, or its content is not as described; `errors` lists each field.",
    401: "No token, or one that is expired, forged or meant for somebody else.",
    403: "The caller may not do this.",
    404: "There is no such thing, or not for this caller.",
    409: "What is there does not allow it.",
    412: "`If-Match` does not name what is there now.",
    413: "The body is larger than the service accepts.",
    422: "The content is well-formed and still makes no sense.",
    428: "`If-Match` is missing.",
    429: "Too often; `Retry-After` says when to come back.",
    502: "Something behind the service answered what cannot be read.",
    503: "Something behind the service is away; `Retry-After` says when to come back.",
    504: "The request's time is over.",
}


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong (RFC 9457). Members not listed here may be present."""

    type: Annotated[str, Meta(examples=["about:blank"])]
    title: Annotated[str, Meta(description="The status in words.", examples=["Not Found"])]
    status: Annotated[int, Meta(examples=[404])]
    detail: Annotated[str, Meta(description="What happened this time.")] = ""
    instance: Annotated[str, Meta(description="The path that was asked for.")] = ""
    request_id: Annotated[str, Meta(description="`X-Request-ID` of the answer; stands in the log.")] = ""
    errors: Annotated[
        tuple[FieldError, ...], Meta(description="The fields that are not as described, of a 400.")
    ] = ()


def problem_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Return what a handler's `responses` says of the problems it answers with.

    Args:
        statuses: Status codes; their usual reasons are described.
    """
    return {status: _response(status) for status in sorted(statuses)}


def _response(status: int) -> ResponseSpec:
    title = HTTPStatus(status).phrase
    example = {"type": "about:blank", "title": title, "status": status}
    return ResponseSpec(
        ProblemDetails,
        generate_examples=False,
        description=_WHEN.get(status, title),
        media_type="application/problem+json",
        examples=[Example(summary=title, value=example)],
    )

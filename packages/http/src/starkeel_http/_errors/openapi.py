"""Problem details in a service's OpenAPI document."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import Meta

from .problem import MEDIA_TYPE
from .problem_types import problem_type
from .validation import FieldError


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Problem details (RFC 9457). Further members may be present."""

    type: Annotated[
        str,
        Meta(
            description="URI of the type, which leads to its documentation, or `about:blank`.",
            examples=["about:blank"],
        ),
    ]
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
    described = problem_type(status)
    example = {"type": "about:blank", "title": title, "status": status}
    return ResponseSpec(
        ProblemDetails,
        generate_examples=False,
        description=title if described is None else described.meaning,
        media_type=MEDIA_TYPE,
        examples=[Example(summary=title, value=example)],
    )

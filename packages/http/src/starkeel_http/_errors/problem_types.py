"""Types of problems (RFC 9457, 3.1.1) and their documentation."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A type of problem.

    Attributes:
        name: End of its URI; never changed, as clients compare it.
        status: HTTP status code.
        meaning: What has happened.
        remedy: What a client should do.
    """

    name: str
    status: int
    meaning: str
    remedy: str

    @property
    def title(self) -> str:
        """Reason phrase of the status."""
        return HTTPStatus(self.status).phrase


_WAIT: Final = "Send the request again after `Retry-After`, with increasing delays."

PROBLEM_TYPES: Final = (
    ProblemType(
        "invalid-fields",
        400,
        "Fields of the request are invalid; `errors` lists each of them.",
        "Correct the fields in `errors`. The same request always fails.",
    ),
    ProblemType(
        "bad-request",
        400,
        "The request is malformed; `errors` lists each invalid field.",
        "Correct what `detail` names. The same request always fails.",
    ),
    ProblemType(
        "unauthorized",
        401,
        "The access token is missing, expired, forged or for another audience.",
        "Refresh the tokens once, or sign in again. `WWW-Authenticate` has the reason.",
    ),
    ProblemType(
        "forbidden",
        403,
        "The caller has no permission.",
        "Do not repeat the request. Another token does not help unless `WWW-Authenticate` names a scope.",
    ),
    ProblemType(
        "not-found",
        404,
        "The resource does not exist or is not visible to the caller.",
        "Check the path. The response is the same for a resource of another user.",
    ),
    ProblemType("method-not-allowed", 405, "The path has no such method.", "Use a method of `Allow`."),
    ProblemType(
        "not-acceptable",
        406,
        "The response has no representation that `Accept` allows.",
        "Send `Accept: application/json`, or none.",
    ),
    ProblemType(
        "request-timeout",
        408,
        "The body of the request did not arrive in time.",
        "Send the request again over a faster connection.",
    ),
    ProblemType(
        "conflict",
        409,
        "The request conflicts with the current state of the resource.",
        "Read the resource and decide again; `detail` names the conflict.",
    ),
    ProblemType("gone", 410, "The resource has existed and does not exist any more.", "Do not use it again."),
    ProblemType(
        "precondition-failed",
        412,
        "`If-Match` or `If-None-Match` is false for the current version of the resource.",
        "Read the resource and repeat the change with its new `ETag`.",
    ),
    ProblemType(
        "content-too-large",
        413,
        "The body is larger than the limit.",
        "Send a body within the limit in `detail`.",
    ),
    ProblemType("uri-too-long", 414, "The URL is longer than the limit.", "Send a shorter query."),
    ProblemType(
        "unsupported-media-type",
        415,
        "The media type or the coding of the body is not accepted.",
        "Send a media type of `Accept`, and a body without `Content-Encoding`.",
    ),
    ProblemType(
        "misdirected-request",
        421,
        "The service does not serve this host.",
        "Send the request to another host.",
    ),
    ProblemType(
        "unprocessable-content",
        422,
        "The request is well-formed, but cannot be processed.",
        "Correct what `detail` names, such as an `Idempotency-Key` that another request used.",
    ),
    ProblemType(
        "precondition-required",
        428,
        "`If-Match` is required.",
        "Read the resource and send its `ETag` as `If-Match`.",
    ),
    ProblemType(
        "too-many-requests",
        429,
        "The rate limit is exceeded; `Retry-After` holds the seconds to wait.",
        "Wait for the seconds in `Retry-After`, and send fewer requests.",
    ),
    ProblemType(
        "headers-too-large",
        431,
        "The header fields are longer than the limit.",
        "Send fewer or shorter header fields.",
    ),
    ProblemType(
        "internal-server-error",
        500,
        "The service failed.",
        "Report `request_id`. Repeat the request only if it is idempotent.",
    ),
    ProblemType("bad-gateway", 502, "An upstream service returned an invalid response.", _WAIT),
    ProblemType(
        "service-unavailable",
        503,
        "A required service is unavailable; `Retry-After` holds the seconds to wait.",
        _WAIT,
    ),
    ProblemType(
        "gateway-timeout",
        504,
        "The request timed out.",
        "Repeat the request if it is idempotent or has an `Idempotency-Key`.",
    ),
)
"""All types; for a status with several, the last one applies to every problem of the status."""

_BY_STATUS: Final = {each.status: each for each in PROBLEM_TYPES}
_INVALID_FIELDS: Final = PROBLEM_TYPES[0]


def problem_type(status: int, *, has_errors: bool = False) -> ProblemType | None:
    """Return the type of a problem; `None` for a status without one, which is `about:blank`."""
    if has_errors and status == _INVALID_FIELDS.status:
        return _INVALID_FIELDS
    return _BY_STATUS.get(status)

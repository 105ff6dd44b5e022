"""Record of a request that has ended, kept until a batch is reported."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .request import Key


class ClientInfo(NamedTuple):
    """Client of a request: IP address, if known, encoded span attributes and rendered log fields."""

    address: str | None
    span: bytes
    line: str


class RequestTemplate:
    """Pre-encoded parts that requests with the same method, route, status, host and target share.

    Args:
        key: Method, route and status.
        span: Encoded span fields.
        line: Rendered log fields before the path and after it.
        is_fast: Whether records without extras need no individual inspection.
    """

    __slots__ = ("is_fast", "key", "line_after", "line_before", "pending", "span")

    def __init__(self, key: "Key", span: bytes, line: tuple[str, str], *, is_fast: bool) -> None:
        self.key = key
        self.span = span
        self.line_before, self.line_after = line
        self.is_fast = is_fast
        self.pending: list[RequestRecord] = []
        """Records of the current batch that are not counted yet."""


class SlowPathResult(NamedTuple):
    """Parts that the slow path has already reported for a request.

    Attributes:
        status: Response status.
        ids: Trace id and span id of the ended span; empty if there is none.
        is_sampled: Whether the span is exported.
        needs_line: Whether the access log line is still to be written.
    """

    status: int
    ids: bytes
    is_sampled: bool
    needs_line: bool


class RequestExtras(NamedTuple):
    """Data that only some requests have.

    Attributes:
        bound: Fields bound in `structlog.contextvars`.
        span: The `ServerSpan`, if an object was created.
        result: What the slow path has already reported.
    """

    bound: Mapping[str, Any]
    span: Any
    result: SlowPathResult | None


RequestRecord = tuple[RequestTemplate, ClientInfo, str, int, int, int, bytes, str, RequestExtras | None]
"""Template, client, path, start and end in nanoseconds of `perf_counter_ns()`, bytes sent, trace and span id,
empty if there is no span, request id, and extras, which most requests do not have.

A plain tuple of few objects: memory that the records hold is not in the CPU cache when it is read again.
"""

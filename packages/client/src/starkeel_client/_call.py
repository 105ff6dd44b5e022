"""Description of a call and of a failed attempt."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

import httpx2

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_PATH = re.compile(r"/(?!/)[^\s?#\\]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call to an upstream.

    Args:
        route: Path template, for telemetry.
        headers: Headers set by the caller.
        ends_at: Deadline in monotonic seconds.
        is_bound_by_request: Whether the deadline is that of the incoming request.
    """

    method: Method
    url: httpx2.URL
    route: str | None
    headers: httpx2.Headers
    content: bytes | None
    ends_at: float
    is_bound_by_request: bool

    @property
    def is_repeatable(self) -> bool:
        """Whether the call may be retried: the method is idempotent, or there is an idempotency key."""
        return self.method in _IDEMPOTENT or "idempotency-key" in self.headers

    def left_s(self) -> float:
        """Return the seconds until the deadline."""
        return self.ends_at - time.monotonic()


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt without a response.

    Args:
        error_type: Value of the span attribute `error.type`.
        is_transient: Whether another attempt may succeed.
        cause: The exception.
    """

    error_type: str
    is_transient: bool
    cause: Exception


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

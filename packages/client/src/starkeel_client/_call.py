"""One call, and how an attempt at it ended."""

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
    """What is asked of an upstream.

    Args:
        method: The HTTP method.
        url: Where.
        route: The template the path was made by, for telemetry.
        headers: What the caller sends.
        content: The body.
        ends_at: Monotonic seconds at which nobody waits for the answer any more.
        is_bound_by_request: Whether that is when the request ends that it is made for.
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
        """Whether to do it twice is as good as once."""
        return self.method in _IDEMPOTENT or "idempotency-key" in self.headers

    def left_s(self) -> float:
        """Seconds that are left for it."""
        return self.ends_at - time.monotonic()


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that brought no answer.

    Args:
        error_type: What went wrong, a word for telemetry.
        is_passing: Whether the next attempt may fare better.
        cause: What was raised.
    """

    error_type: str
    is_passing: bool
    cause: Exception


def url_of(base: str, path: str, params: Mapping[str, str] | None) -> httpx2.URL:
    """Put a path behind a base URL.

    Raises:
        ValueError: The path would lead elsewhere: it does not begin with one slash, climbs, or holds a query.
    """
    # Whoever unquotes it before it looks at dots must not climb either.
    if not _PATH.fullmatch(path) or {".", ".."} & set(unquote(path).split("/")):
        raise ValueError(f"{path!r} is no path of an upstream: quote what you put into it, and give `params`")
    try:
        return httpx2.URL(base + path, params=params or None)
    except httpx2.InvalidURL as error:
        raise ValueError(f"{path!r} is no path of an upstream: {error}") from None

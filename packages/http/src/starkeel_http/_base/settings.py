"""Settings of the HTTP edge."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, ClassVar, Literal

from msgspec import Meta
from starkeel_config import Environment, Problem, Secret, Settings, Variable
from starkeel_redis import check_redis_url

from .addresses import Network, Origin
from .hosts import AllowedHost


class HttpSettings(Settings, frozen=True, kw_only=True):
    """Timeout, body limit, CORS, trusted proxies and rate limits of every request."""

    plugin: ClassVar[str | None] = "starkeel_http:HttpPlugin"

    request_timeout_s: Annotated[float, Variable("REQUEST_TIMEOUT_SECONDS"), Meta(ge=0.01, le=3600)] = 30.0
    """Seconds for a whole request, unless its route sets another; its work is then cancelled.

    Event streams and WebSockets are exempt once they have started.
    """

    max_body_bytes: Annotated[int, Variable("MAX_BODY_BYTES"), Meta(ge=0, le=1_073_741_824)] = 1_048_576
    """Maximum size of a request body in bytes, unless its route sets another."""

    max_url_bytes: Annotated[int, Variable("MAX_URL_BYTES"), Meta(ge=1024, le=65_534)] = 8192
    """Maximum size of a request's path and query in bytes; 414 above it."""

    max_headers: Annotated[int, Variable("MAX_HEADERS"), Meta(ge=16, le=100)] = 64
    """Maximum number of a request's header fields; 431 above it."""

    max_header_bytes: Annotated[int, Variable("MAX_HEADER_BYTES"), Meta(ge=4096, le=65_536)] = 32_768
    """Maximum size of a request's header fields in bytes, names and values; 431 above it."""

    compression: Annotated[bool, Variable("COMPRESSION")] = True
    """Whether responses are compressed: to GET and HEAD without credentials, and of routes that enable it."""

    compression_codings: Annotated[
        tuple[Literal["zstd", "gzip", "br"], ...],
        Variable("COMPRESSION_CODINGS"),
        Meta(min_length=1, max_length=3),
    ] = ("zstd", "gzip")
    """Codings by preference, where a client accepts several alike; `br` needs `starkeel-http[brotli]`."""

    compression_min_bytes: Annotated[int, Variable("COMPRESSION_MIN_BYTES"), Meta(ge=256, le=1_048_576)] = (
        1024
    )
    """Size of the smallest body in bytes that is compressed; streams always are."""

    allowed_hosts: Annotated[tuple[AllowedHost, ...], Variable("ALLOWED_HOSTS"), Meta(max_length=1000)] = ()
    """Hosts of the service in URLs; requests for other hosts are refused with 421, except of the health
    endpoints. Empty, or `*`: every host.
    """

    cors_allowed_origins: Annotated[
        tuple[Origin, ...], Variable("CORS_ALLOWED_ORIGINS"), Meta(max_length=1000)
    ] = ()
    """Origins whose pages may read responses in a browser; `*`, every origin, only in development."""

    trusted_proxies: Annotated[tuple[Network, ...], Variable("TRUSTED_PROXIES"), Meta(max_length=1000)] = ()
    """Networks of load balancers whose `Forwarded` and `X-Forwarded-*` are trusted."""

    internal_networks: Annotated[
        tuple[Network, ...],
        Variable("INTERNAL_NETWORKS", development="127.0.0.0/8,::1"),
        Meta(max_length=1000),
    ] = ()
    """Networks of services whose `traceparent`, `baggage` and `X-Request-Timeout` are trusted, where no proxy
    forwards the request.
    """

    max_streams_per_address: Annotated[int, Variable("MAX_STREAMS_PER_ADDRESS"), Meta(ge=1, le=65_536)] = 100
    """Maximum number of open event streams and WebSockets of one client address in one worker; trusted
    proxies are exempt."""

    max_streams_per_user: Annotated[int, Variable("MAX_STREAMS_PER_USER"), Meta(ge=1, le=65_536)] = 20
    """Maximum number of open event streams and WebSockets of one user in one worker."""

    stream_heartbeat_s: Annotated[float, Variable("STREAM_HEARTBEAT_SECONDS"), Meta(ge=1, le=300)] = 15.0
    """Seconds without an event until an event stream or WebSocket sends a heartbeat; shorter than the idle
    timeouts of proxies."""

    stream_send_timeout_s: Annotated[float, Variable("STREAM_SEND_TIMEOUT_SECONDS"), Meta(ge=1, le=300)] = (
        10.0
    )
    """Seconds that the client of an event stream or WebSocket may read nothing of an event; then the stream
    ends as that of a slow consumer."""

    problem_types_url: Annotated[
        str | None,
        Variable("PROBLEM_TYPES_URL"),
        Meta(pattern="^https?://[^ ]+[/#=]$", description="a URL that ends with /, # or ="),
    ] = None
    """Start of the URIs in `type` of problem responses, such as `https://api.example.com/docs/errors#`, where
    docs/errors.md is published; without it `type` is `about:blank`."""

    load_shedding: Annotated[bool, Variable("LOAD_SHEDDING")] = True
    """Limit the requests that execute in a worker while it is saturated, and refuse with 503 those that
    would wait for too long."""

    load_max_wait_s: Annotated[float, Variable("LOAD_MAX_WAIT_SECONDS"), Meta(ge=0.05, le=60)] = 1.0
    """Seconds that a request may wait before it begins; no more requests wait than can begin in this time."""

    load_shed_first: Annotated[Literal["reads", "writes", "none"], Variable("LOAD_SHED_FIRST")] = "reads"
    """Requests that are refused first under load, unless their route has a priority: `reads` are GET, HEAD
    and OPTIONS; with `none` all are equal.
    """

    redis_url: Annotated[Secret | None, Variable("REDIS_URL")] = None
    """URL of Redis for shared rate-limit counters; without it each worker counts its share of a limit."""

    rate_limit_on_error: Annotated[Literal["open", "closed"], Variable("RATE_LIMIT_ON_ERROR")] = "open"
    """Rate-limited requests while Redis is unavailable: with `open` each worker counts its share of a limit,
    rounded up; `closed` returns 503.
    """

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Reject `*` as an origin in production, a coding without its library, and a URL that cannot work."""
        if environment == "production" and "*" in self.cors_allowed_origins:
            yield Problem("CORS_ALLOWED_ORIGINS", "is *, which is for development", "exact origins")
        if "br" in self.compression_codings and find_spec("brotli") is None:
            yield Problem(
                "COMPRESSION_CODINGS",
                "has br, whose library is not installed",
                "starkeel-http[brotli], or no br",
            )
        if self.redis_url is not None:
            # Not a check of the variable: other settings may declare it without one.
            try:
                check_redis_url(self.redis_url)
            except ValueError as error:
                yield Problem("REDIS_URL", str(error), "a redis://, rediss:// or unix:// URL")

"""What the environment says about the edge."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta
from starkeel_config import Environment, Problem, Secret, Settings, Variable

from .addresses import Network, Origin

_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


class EdgeSettings(Settings, frozen=True, kw_only=True):
    """What every request meets first."""

    request_timeout_s: Annotated[float, Variable("REQUEST_TIMEOUT_SECONDS"), Meta(ge=0.01, le=3600)] = 30.0
    """Seconds a request may take as a whole, unless its route says otherwise; its work is cancelled then.

    Event streams and WebSockets are exempt once they have started.
    """

    max_body_bytes: Annotated[int, Variable("MAX_BODY_BYTES"), Meta(ge=0, le=1_073_741_824)] = 1_048_576
    """Bytes of the largest body that is read, unless a route says otherwise."""

    cors_allowed_origins: Annotated[
        tuple[Origin, ...], Variable("CORS_ALLOWED_ORIGINS"), Meta(max_length=1000)
    ] = ()
    """Origins whose pages may read answers in a browser; `*`, every one, only in development."""

    trusted_proxies: Annotated[tuple[Network, ...], Variable("TRUSTED_PROXIES"), Meta(max_length=1000)] = ()
    """Networks of load balancers and services whose `Forwarded`, `X-Forwarded-*` and `X-Request-Timeout` are
    believed.
    """

    redis_url: Annotated[Secret | None, Variable("REDIS_URL")] = None
    """Redis in which all workers and instances count together; without it every worker counts its share."""

    rate_limit_on_error: Annotated[Literal["open", "closed"], Variable("RATE_LIMIT_ON_ERROR")] = "open"
    """What happens to limited requests while Redis is away: `open` lets them pass, `closed` answers 503."""

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Refuse every origin in production, and what is no URL of a Redis."""
        if environment == "production" and "*" in self.cors_allowed_origins:
            yield Problem("CORS_ALLOWED_ORIGINS", "is *, which is for development", "exact origins")
        if self.redis_url is not None and not self.redis_url.reveal().startswith(_REDIS_SCHEMES):
            accepted = "a redis://, rediss:// or unix:// URL"
            yield Problem("REDIS_URL", "is no URL of a Redis", accepted)

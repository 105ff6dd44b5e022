"""What the environment says about an upstream."""

from collections.abc import Iterator
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from msgspec import Meta
from starkeel_config import Environment, Problem, Settings, Variable, prefixed


class UpstreamUrl(str):
    """An absolute `http` or `https` URL without credentials, query and a slash at its end."""

    __slots__ = ()

    accepts = "an http:// or https:// URL without user, password, query and fragment"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check a text, and take slashes from its end.

        Raises:
            ValueError: It is no such URL; the message never repeats credentials.
        """
        if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
            raise ValueError("has characters that no URL has")
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"}:
            raise ValueError("is neither http:// nor https://")
        if "@" in parts.netloc:
            raise ValueError("has a user or a password in it")
        # `port` raises ValueError when it is no port.
        if not parts.hostname or parts.port == 0:
            raise ValueError("has no host, or port 0")
        if "?" in text or "#" in text:
            raise ValueError("has a query or a fragment")
        return cls(text.rstrip("/"))


class UpstreamSettings(Settings, frozen=True, kw_only=True):
    """Another service that is called."""

    url: Annotated[UpstreamUrl, Variable("URL", development="http://127.0.0.1:3000")]
    """Where the service is; a path in it is put before every call's."""

    timeout_s: Annotated[float, Variable("TIMEOUT_SECONDS"), Meta(ge=0.05, le=300)] = 5.0
    """Seconds one call may take, repetitions included; less when its request has less left."""

    connect_timeout_s: Annotated[float, Variable("CONNECT_TIMEOUT_SECONDS"), Meta(ge=0.05, le=60)] = 1.0
    """Seconds to wait for a connection, be it a new one or a free one of the pool."""

    max_connections: Annotated[int, Variable("MAX_CONNECTIONS"), Meta(ge=1, le=10_000)] = 50
    """Connections of one worker to the service."""

    retries: Annotated[int, Variable("RETRIES"), Meta(ge=0, le=10)] = 2
    """How often an idempotent call is repeated at most; 0 for never."""

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Refuse to wait longer for a connection than for the whole call."""
        del environment
        if self.connect_timeout_s > self.timeout_s:
            yield Problem(
                "CONNECT_TIMEOUT_SECONDS",
                f"is {self.connect_timeout_s:g}, more than the whole call may take ({self.timeout_s:g})",
                f"at most {self.timeout_s:g}",
            )


def upstream(name: str, *, development_url: str | None = None) -> Any:
    """Read a group of `UpstreamSettings` from variables with a prefix.

    Given as the field's default: ``accounts: UpstreamSettings = upstream("ACCOUNTS")`` reads `ACCOUNTS_URL`,
    `ACCOUNTS_TIMEOUT_SECONDS` and so on.

    Args:
        name: The prefix, without the underscore that follows it.
        development_url: Where it is in development unless the variable says; without it port 3000.
    """
    return prefixed(name, development={} if development_url is None else {"URL": development_url})

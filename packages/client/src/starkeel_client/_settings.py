"""Settings of an upstream."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar

from msgspec import Meta
from starkeel_config import Environment, HttpUrl, Problem, Secret, Settings, Variable, prefixed


class UpstreamUrl(HttpUrl):
    """An `HttpUrl` to which paths are appended: without query and trailing slash."""

    __slots__ = ()

    accepts = "an http:// or https:// URL without user, password, query and fragment"

    @classmethod
    def canonical(cls, text: str) -> str:
        """Return the URL without trailing slashes."""
        text = super().canonical(text)
        if "?" in text:
            raise ValueError("has a query")
        return text.rstrip("/")


class UpstreamSettings(Settings, frozen=True, kw_only=True):
    """Another service."""

    plugin: ClassVar[str | None] = "starkeel_client:ClientPlugin"

    url: Annotated[UpstreamUrl, Variable("URL", development="http://127.0.0.1:3000")]
    """Base URL of the service; its path is prepended to the path of every call."""

    timeout_s: Annotated[float, Variable("TIMEOUT_SECONDS"), Meta(ge=0.05, le=300)] = 5.0
    """Timeout of a call in seconds, including retries; the deadline of the request may shorten it."""

    connect_timeout_s: Annotated[float, Variable("CONNECT_TIMEOUT_SECONDS"), Meta(ge=0.05, le=60)] = 1.0
    """Seconds to wait for a connection, either a new one or one from the pool."""

    max_connections: Annotated[int, Variable("MAX_CONNECTIONS"), Meta(ge=1, le=10_000)] = 50
    """Maximum connections of one worker to the service."""

    max_requests: Annotated[int | None, Variable("MAX_REQUESTS"), Meta(ge=1, le=100_000)] = None
    """Maximum requests of one worker to the service at a time; further ones wait until their deadline.
    Unset: as many as connections."""

    max_waiting_requests: Annotated[int, Variable("MAX_WAITING_REQUESTS"), Meta(ge=0, le=100_000)] = 100
    """Maximum requests of one worker that wait; further ones are rejected at once, with 503."""

    http2: Annotated[bool, Variable("HTTP2")] = False
    """Whether to use HTTP/2, which sends many requests over one connection: negotiated with an https URL,
    without negotiation with an http URL. Needs `starkeel-client[http2]`."""

    tls_ca_file: Annotated[Path | None, Variable("TLS_CA_FILE")] = None
    """Path of the certificate authorities of the service, PEM; unset: those of the system."""

    tls_cert_file: Annotated[Path | None, Variable("TLS_CERT_FILE")] = None
    """Path of the client certificate chain that the service requires, PEM; loaded again when it changes."""

    tls_key_file: Annotated[Path | None, Variable("TLS_KEY_FILE")] = None
    """Path of the private key of the client certificate, PEM without a passphrase."""

    retries: Annotated[int, Variable("RETRIES"), Meta(ge=0, le=10)] = 2
    """Maximum retries of an idempotent call; 0 disables retries."""

    retry_budget_ratio: Annotated[float, Variable("RETRY_BUDGET_RATIO"), Meta(ge=0.01, le=1)] = 0.1
    """Retries and hedged requests per successful request, beyond the first ten."""

    hedge_reads: Annotated[bool, Variable("HEDGE_READS")] = False
    """Whether a GET without a response after the hedge delay is sent a second time, and the first response
    used."""

    hedge_delay_s: Annotated[float | None, Variable("HEDGE_DELAY_SECONDS"), Meta(ge=0.001, le=60)] = None
    """Seconds without a response until a GET is sent again; unset: the 95th percentile of the route."""

    breaker_failure_ratio: Annotated[float, Variable("BREAKER_FAILURE_RATIO"), Meta(ge=0.01, le=1)] = 0.5
    """Share of failed requests, retries included, from which the circuit breaker of a worker opens."""

    breaker_min_requests: Annotated[int, Variable("BREAKER_MIN_REQUESTS"), Meta(ge=1, le=100_000)] = 20
    """Minimum requests of one worker in the window before its circuit breaker may open."""

    breaker_window_s: Annotated[float, Variable("BREAKER_WINDOW_SECONDS"), Meta(ge=1, le=600)] = 10.0
    """Sliding window in seconds, whose requests the circuit breaker counts."""

    breaker_open_s: Annotated[float, Variable("BREAKER_OPEN_SECONDS"), Meta(ge=0, le=600)] = 5.0
    """Maximum seconds that the open circuit breaker rejects calls, minimum half of it at random, before it
    tests the service with single requests; 0 disables the breaker."""

    token_url: Annotated[HttpUrl | None, Variable("TOKEN_URL")] = None
    """Token endpoint for client credentials (RFC 6749, 4.4). With it, calls that have no `Authorization` are
    sent with an access token of this service, which is renewed in the background."""

    client_id: Annotated[str | None, Variable("CLIENT_ID"), Meta(min_length=1, max_length=255)] = None
    """This service's ID at the token endpoint."""

    client_secret: Annotated[Secret | None, Variable("CLIENT_SECRET")] = None
    """This service's secret at the token endpoint."""

    token_scope: Annotated[str, Variable("TOKEN_SCOPE"), Meta(max_length=4096)] = ""
    """Scopes to request, separated by spaces; empty requests all that are registered."""

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Reject contradicting timeouts, invalid TLS files, HTTP/2 without its package, and incomplete
        credentials.
        """
        del environment
        # Here, because most upstreams have no such files.
        if self.tls_ca_file or self.tls_cert_file or self.tls_key_file:
            from starkeel_config import TlsFiles

            yield from TlsFiles(self.tls_ca_file, self.tls_cert_file, self.tls_key_file).problems(self.url)
        if self.http2 and find_spec("h2") is None:
            yield Problem(
                "HTTP2", "is true, but h2 is not installed", "false, or install starkeel-client[http2]"
            )
        if self.token_url is not None:
            for name, value in {"CLIENT_ID": self.client_id, "CLIENT_SECRET": self.client_secret}.items():
                if value is None:
                    yield Problem(name, "is not set, but TOKEN_URL is", "the credentials of this service")
        if self.connect_timeout_s > self.timeout_s:
            yield Problem(
                "CONNECT_TIMEOUT_SECONDS",
                f"is {self.connect_timeout_s:g}, more than TIMEOUT_SECONDS ({self.timeout_s:g})",
                f"at most {self.timeout_s:g}",
            )


def upstream(name: str, *, development_url: str | None = None) -> Any:
    """Read a group of `UpstreamSettings` from variables with a prefix.

    Used as the field's default: ``accounts: UpstreamSettings = upstream("ACCOUNTS")`` reads `ACCOUNTS_URL`,
    `ACCOUNTS_TIMEOUT_SECONDS` and so on.

    Args:
        name: The prefix, without the underscore that follows it.
        development_url: Default URL in development; port 3000 of the local host if omitted.
    """
    return prefixed(name, development={} if development_url is None else {"URL": development_url})

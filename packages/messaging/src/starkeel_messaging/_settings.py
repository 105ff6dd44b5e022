"""Settings of events between services, read from the environment."""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from msgspec import Meta
from starkeel_config import Environment, Problem, Secret, Settings, Variable
from starkeel_redis import check_redis_url

from ._nats_credentials import NatsCredentials


class MessagingSettings(Settings, frozen=True, kw_only=True):
    """Events between services."""

    broker_url: Annotated[Secret | None, Variable("BROKER_URL")] = None
    """Broker to which events are published and from which they are received: `redis://`, `rediss://`, `nats://`
    or `tls://` (NATS, `?replicas=3` in a cluster; `tls://` also `ssl_ca_certs`, `ssl_certfile` and
    `ssl_keyfile`, as Redis), or in development `sqlite:///PATH`, a file that several
    services share. Without it, events stay in the outbox and none are received."""

    broker_credentials: Annotated[Secret | None, Variable("BROKER_CREDENTIALS")] = None
    """User of NATS: the content of a file `.creds` (JWT and seed), or a seed (nkey, `SU...`). As a rule
    `BROKER_CREDENTIALS_FILE` names the file; without it, the URL has user and password, a token, or none."""

    kept_events: Annotated[int, Variable("BROKER_KEPT_EVENTS"), Meta(ge=1000, le=100_000_000)] = 100_000
    """Approximate number of events of a service that the broker keeps."""

    kept_hours: Annotated[float, Variable("BROKER_KEPT_HOURS"), Meta(ge=1, le=8760)] = 168.0
    """Hours for which the broker keeps an event, as a rule: older ones are deleted when the service publishes
    the next one. Without effect on Redis before 6.2."""

    lease_s: Annotated[float, Variable("CONSUMER_LEASE_SECONDS"), Meta(ge=3, le=600)] = 10.0
    """Seconds after which another process receives the events of a topic in place of one that has died."""

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Yield what is wrong with the URL, without any part of it."""
        if self.broker_url is not None and (problem := _url_problem(self.broker_url, environment)):
            yield Problem(
                "BROKER_URL",
                problem,
                "redis://, rediss://, nats:// or tls://, in development also sqlite:///PATH",
            )
        if self.broker_credentials is not None and (problem := self._credentials_problem()):
            yield Problem("BROKER_CREDENTIALS", problem, "a file `.creds` of NATS, or the seed of a user")

    def _credentials_problem(self) -> str:
        assert self.broker_credentials is not None
        if self.broker_url is None or scheme_of(self.broker_url) not in {"nats", "tls"}:
            return "is for NATS, but BROKER_URL is none of it"
        try:
            NatsCredentials(self.broker_credentials.reveal())
        except ValueError as error:
            return str(error)
        return ""


def scheme_of(url: Secret) -> str:
    """Return the scheme of a URL; empty if it is none."""
    try:
        return urlsplit(url.reveal()).scheme
    except ValueError:
        return ""


def _url_problem(url: Secret, environment: Environment) -> str:
    scheme = scheme_of(url)
    if scheme in {"redis", "rediss"}:
        try:
            check_redis_url(url)
        except ValueError as error:
            return str(error)
        return ""
    if scheme in {"nats", "tls"}:
        return _nats_problem(url)
    if scheme == "sqlite":
        if environment != "development":
            return "is a file, which serves development on one machine only"
        return "" if urlsplit(url.reveal()).path.strip("/") else "has no path"
    return "is no URL of a broker"


def _nats_problem(url: Secret) -> str:
    given = urlsplit(url.reveal())
    try:
        has_port = given.port is None or given.port > 0
        query = parse_qs(given.query, keep_blank_values=True, strict_parsing=bool(given.query))
    except ValueError:
        return "is malformed"
    if not given.hostname or not has_port or given.path.strip("/"):
        return "is malformed"
    files = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"} if given.scheme == "tls" else set()
    if query.keys() - files - {"replicas"} or query.get("replicas", ["1"]) not in [["1"], ["3"], ["5"]]:
        return "has a query that is not replicas=1, 3 or 5, with tls:// also ssl_ca_certs and the like"
    if ("ssl_certfile" in query) != ("ssl_keyfile" in query):
        return "has only one of ssl_certfile and ssl_keyfile"
    return ""

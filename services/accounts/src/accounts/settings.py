"""Settings of accounts."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
from starkeel_auth import IssuerSettings, SigningKeys
from starkeel_config import Environment, Problem, Secret, ServiceSettings, Variable
from starkeel_db import DatabaseSettings
from starkeel_http import HttpSettings, Rate
from starkeel_jobs import JobSettings
from starkeel_mail import MailSettings
from starkeel_messaging import MessagingSettings
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings

from .mail_settings import MailFlowSettings
from .service_clients import ServiceClients


def _check_private_key(private_key: Secret) -> None:
    SigningKeys.from_pem(private_key.reveal())


def _check_clients(clients: Secret) -> None:
    ServiceClients.parse(clients)


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Users, passwords and access tokens."""

    observability: ObservabilitySettings
    server: ServerSettings
    http: HttpSettings
    database: DatabaseSettings
    jobs: JobSettings
    messaging: MessagingSettings
    auth: IssuerSettings
    mail: MailSettings
    mail_flows: MailFlowSettings
    jwt_private_key: Annotated[
        Secret | None,
        Variable("JWT_PRIVATE_KEY", required_in_production=True, check=_check_private_key),
        msgspec.Meta(description="one or several Ed25519 private keys as PKCS#8 PEM (secret)"),
    ] = None
    """Ed25519 keys, concatenated: the first signs, all verify. In development a key is generated and stored
    next to the SQLite file."""
    jwt_expiration_hours: Annotated[int, Variable("JWT_EXPIRATION_HOURS"), msgspec.Meta(ge=1, le=720)] = 1
    """Lifetime of an access token in hours; it ends earlier for services that follow the revocations."""
    session_lifetime_hours: Annotated[
        int, Variable("SESSION_LIFETIME_HOURS"), msgspec.Meta(ge=1, le=8760)
    ] = 720
    """Hours after the sign-in at which a session ends, however much it is used."""
    session_idle_hours: Annotated[int, Variable("SESSION_IDLE_HOURS"), msgspec.Meta(ge=1, le=8760)] = 168
    """Hours without a refresh after which a session ends; at least `JWT_EXPIRATION_HOURS` apply."""
    refresh_token_grace_s: Annotated[
        int, Variable("REFRESH_TOKEN_GRACE_SECONDS"), msgspec.Meta(ge=0, le=60)
    ] = 10
    """Seconds for which a repeated refresh returns the same new refresh token, for clients that lost the
    response; later, or after the new one was used, the session ends."""
    sessions_per_user: Annotated[int, Variable("SESSIONS_PER_USER"), msgspec.Meta(ge=1, le=1000)] = 100
    """Maximum number of sessions of a user; a sign-in above it ends the least recently used one."""
    sign_up_hides_addresses: Annotated[bool, Variable("SIGN_UP_HIDES_ADDRESSES")] = False
    """Whether a registration has the same response, 202 without a body, if the address belongs to a user."""
    service_clients: Annotated[
        Secret | None,
        Variable("SERVICE_CLIENTS", check=_check_clients),
        msgspec.Meta(description='a JSON array of `{"id", "secrets", "scopes"}` (secret)'),
    ] = None
    """Services that may get access tokens by client credentials; each secret has at least 32 characters."""
    service_token_s: Annotated[int, Variable("SERVICE_TOKEN_SECONDS"), msgspec.Meta(ge=60, le=86_400)] = 600
    """Lifetime in seconds of an access token of a service; it cannot be revoked before."""
    sign_in_requires_verification: Annotated[bool, Variable("SIGN_IN_REQUIRES_VERIFICATION")] = False
    """Whether users can sign in only when they have verified their address; sessions that exist continue."""
    rate_limit_sign_up: Annotated[Rate, Variable("RATE_LIMIT_SIGN_UP")] = Rate.parse("10/minute")
    """Maximum rate of registrations per client address."""
    rate_limit_token: Annotated[Rate, Variable("RATE_LIMIT_TOKEN")] = Rate.parse("20/minute")
    """Maximum rate of token requests per client address."""
    rate_limit_sign_in_account: Annotated[Rate, Variable("RATE_LIMIT_SIGN_IN_ACCOUNT")] = Rate.parse(
        "60/hour; burst=20"
    )
    """Maximum rate of token requests for one account from all addresses together from which it has never
    succeeded, and from each other address."""
    rate_limit_mail: Annotated[Rate, Variable("RATE_LIMIT_MAIL")] = Rate.parse("10/minute")
    """Maximum rate of requests for mail and of uses of its tokens, per client address."""
    rate_limit_refresh: Annotated[Rate, Variable("RATE_LIMIT_REFRESH")] = Rate.parse("60/minute")
    """Maximum rate of refreshes and sign-outs per client address."""
    rate_limit_service_token: Annotated[Rate, Variable("RATE_LIMIT_SERVICE_TOKEN")] = Rate.parse("60/minute")
    """Maximum rate of token requests of services per client address."""
    rate_limit_password: Annotated[Rate, Variable("RATE_LIMIT_PASSWORD")] = Rate.parse("10/minute")
    """Maximum rate of requests that are confirmed by the password, per user."""
    rate_limit_profile: Annotated[Rate, Variable("RATE_LIMIT_PROFILE")] = Rate.parse("600/minute")
    """Maximum rate of reads of the current user, per user."""
    rate_limit_discovery: Annotated[Rate, Variable("RATE_LIMIT_DISCOVERY")] = Rate.parse("600/minute")
    """Maximum rate of reads of the public keys and the provider metadata, per client address."""

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Reject the requirement of a verification for which no mail is sent."""
        del environment
        if self.sign_in_requires_verification and self.mail.transport == "off":
            yield Problem(
                "SIGN_IN_REQUIRES_VERIFICATION", "is true, but MAIL_TRANSPORT is off", "false, or send mail"
            )

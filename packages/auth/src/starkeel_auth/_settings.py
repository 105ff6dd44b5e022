"""Settings for access tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta
from starkeel_config import Environment, HttpUrl, Problem, Settings, Variable

# Allowed in a quoted string of a header without escaping: the audience is the realm of challenges.
Name = Meta(
    min_length=1,
    max_length=255,
    pattern=r"^[!#-\[\]-~]+$",
    description='1 to 255 ASCII characters without spaces, `"` and `\\`',
)


class IssuerSettings(Settings, frozen=True, kw_only=True):
    """Access tokens.

    Sufficient for the issuer, which verifies with its own keys. Other services use `AuthSettings`.
    """

    plugin: ClassVar[str | None] = "starkeel_auth:AuthPlugin"

    issuer: Annotated[str, Variable("JWT_ISSUER", development="http://127.0.0.1:3000"), Name]
    """Issuer of access tokens (`iss`): the issuer's public URL; compared exactly."""

    audience: Annotated[str, Variable("JWT_AUDIENCE", development="starkeel"), Name]
    """Audience of access tokens (`aud`): a name shared by the services of one product."""

    dpop: Annotated[Literal["off", "accepted", "required"], Variable("JWT_DPOP")] = "off"
    """Proof of possession (DPoP, RFC 9449): `accepted` verifies it for tokens that are bound to a key,
    `required` rejects other tokens; `off` rejects those that are bound, because it cannot be verified."""


class AuthSettings(IssuerSettings, frozen=True, kw_only=True):
    """Access tokens issued by another service."""

    jwks_url: Annotated[
        HttpUrl, Variable("JWT_JWKS_URL", development="http://127.0.0.1:3000/.well-known/jwks.json")
    ]
    """URL of the issuer's public keys (JSON Web Key Set)."""

    jwks_timeout_s: Annotated[float, Variable("JWT_JWKS_TIMEOUT_SECONDS"), Meta(ge=0.1, le=30)] = 2.0
    """Seconds until a fetch of the keys times out, from connecting to the last byte."""

    jwks_refresh_s: Annotated[float, Variable("JWT_JWKS_REFRESH_SECONDS"), Meta(ge=1, le=86_400)] = 300.0
    """Seconds between background fetches; a withdrawn key is accepted for up to this long."""

    jwks_max_age_s: Annotated[float, Variable("JWT_JWKS_MAX_AGE_SECONDS"), Meta(ge=1, le=604_800)] = 86_400.0
    """Seconds fetched keys are used while the issuer is unreachable; then guarded routes return 503."""

    revocations_url: Annotated[HttpUrl | None, Variable("JWT_REVOCATIONS_URL")] = None
    """URL of the issuer's list of ended sessions, whose tokens are rejected; without it they are valid until
    they expire."""

    revocations_interval_s: Annotated[
        float, Variable("JWT_REVOCATIONS_INTERVAL_SECONDS"), Meta(ge=1, le=3600)
    ] = 10.0
    """Seconds between fetches of the list; with `JWT_JWKS_TIMEOUT_SECONDS` the longest time for which a token
    of an ended session is accepted while the issuer is reachable."""

    tls_ca_file: Annotated[Path | None, Variable("JWT_TLS_CA_FILE")] = None
    """Path of the certificate authorities of the issuer, PEM; unset: those of the system."""

    tls_cert_file: Annotated[Path | None, Variable("JWT_TLS_CERT_FILE")] = None
    """Path of the client certificate chain that the issuer requires, PEM; loaded again when it changes."""

    tls_key_file: Annotated[Path | None, Variable("JWT_TLS_KEY_FILE")] = None
    """Path of the private key of the client certificate, PEM without a passphrase."""

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Reject a maximum age that is shorter than two refresh intervals, and invalid TLS files."""
        del environment
        # Here, because most issuers need no such files.
        if self.tls_ca_file or self.tls_cert_file or self.tls_key_file:
            from starkeel_config import TlsFiles

            files = TlsFiles(self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
            yield from files.problems(self.jwks_url, prefix="JWT_", url_variable="JWT_JWKS_URL")
        if self.jwks_max_age_s < 2 * self.jwks_refresh_s:
            yield Problem(
                "JWT_JWKS_MAX_AGE_SECONDS",
                f"is {self.jwks_max_age_s:g}, less than twice JWT_JWKS_REFRESH_SECONDS",
                f"at least {2 * self.jwks_refresh_s:g}",
            )

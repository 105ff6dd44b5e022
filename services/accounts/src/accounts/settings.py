"""Everything that the environment decides about accounts."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
from starkeel_auth import IssuerSettings, SigningKeys
from starkeel_config import Environment, Problem, Secret, ServiceSettings, Variable
from starkeel_db import DatabaseSettings
from starkeel_http import EdgeSettings, Rate
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Users, passwords and access tokens."""

    observability: ObservabilitySettings
    server: ServerSettings
    http: EdgeSettings
    database: DatabaseSettings
    auth: IssuerSettings
    jwt_private_key: Annotated[Secret | None, Variable("JWT_PRIVATE_KEY")] = None
    """Ed25519 keys as PKCS#8 PEM, one after the other: the first signs, all verify.

    Required in production; in development one is made and kept beside the SQLite file.
    """
    jwt_expiration_hours: Annotated[int, Variable("JWT_EXPIRATION_HOURS"), msgspec.Meta(ge=1, le=720)] = 1
    """Hours an access token is valid; it cannot be taken back before."""
    rate_limit_sign_up: Annotated[Rate, Variable("RATE_LIMIT_SIGN_UP")] = Rate.parse("10/minute")
    """How often one address may sign somebody up."""
    rate_limit_token: Annotated[Rate, Variable("RATE_LIMIT_TOKEN")] = Rate.parse("20/minute")
    """How often one address may ask for a token."""
    rate_limit_password: Annotated[Rate, Variable("RATE_LIMIT_PASSWORD")] = Rate.parse("10/minute")
    """How often one user may confirm something by the password."""

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Refuse a missing key in production, and one that cannot sign anywhere."""
        accepted = "one or several Ed25519 private keys as PKCS#8 PEM"
        if self.jwt_private_key is None:
            if environment == "production":
                yield Problem("JWT_PRIVATE_KEY", "is not set", accepted)
            return
        try:
            SigningKeys.from_pem(self.jwt_private_key.reveal())
        except ValueError as error:
            yield Problem("JWT_PRIVATE_KEY", str(error), accepted)

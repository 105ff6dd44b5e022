"""Endpoints for access tokens and for the keys that verify them."""

from contextlib import suppress

import structlog
from litestar import Controller, get, post
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException
from litestar.params import JSONBody
from starkeel_http import limit_by_address, problem_responses
from starkeel_observability import counter

from .emails import EmailAddress
from .schemas import Credentials, JsonWebKeySet, ProviderMetadata, Token
from .tokens import SCOPES, TokenIssuer
from .users import Users

log = structlog.get_logger(__name__)

_TOKENS_ISSUED = counter("tokens_issued_total", "Token requests by result.", labels=("result",))


class TokenController(Controller):
    """Access tokens."""

    path = "/api/auth"
    tags = ("tokens",)

    @post(
        "/token",
        summary="Sign in",
        status_code=200,
        opt=limit_by_address("token"),
        response_description="The access token.",
        cache_control=CacheControlHeader(no_store=True),
        responses=problem_responses(400, 401, 413, 429, 503),
    )
    async def token(
        self, data: JSONBody[Credentials], users: NamedDependency[Users], issuer: NamedDependency[TokenIssuer]
    ) -> Token:
        """Exchange an email address and its password for an access token.

        Neither the response nor its duration reveals whether the address is registered.
        """
        email = None
        with suppress(ValueError):
            email = EmailAddress.parse(data.email)
        user_id = await users.authenticate(email, data.password)
        if user_id is None:
            _TOKENS_ISSUED.labels(result="refused").inc()
            log.info("token refused", email=data.email)
            raise NotAuthorizedException(
                "The email address or the password is wrong.", headers={"WWW-Authenticate": "Bearer"}
            )
        token = issuer.issue(user_id)
        _TOKENS_ISSUED.labels(result="issued").inc()
        log.info("token issued", user_id=str(user_id))
        return Token(access_token=token, expires_in=issuer.lifetime_s)


class DiscoveryController(Controller):
    """Discovery of the issuer's keys and endpoints."""

    path = "/.well-known"
    tags = ("discovery",)
    cache_control = CacheControlHeader(public=True, max_age=300)
    opt = limit_by_address("discovery")

    @get(
        "/jwks.json",
        summary="Get the public keys",
        response_description="The key set.",
        responses=problem_responses(429, 503),
    )
    async def keys(self, issuer: NamedDependency[TokenIssuer]) -> JsonWebKeySet:
        """Return the keys that verify access tokens; new tokens are signed with the first."""
        return JsonWebKeySet(keys=issuer.keys.jwks()["keys"])

    @get(
        "/openid-configuration",
        summary="Get the provider metadata",
        response_description="The metadata.",
        responses=problem_responses(429, 503),
    )
    async def metadata(self, issuer: NamedDependency[TokenIssuer]) -> ProviderMetadata:
        """Return the issuer's metadata."""
        base = issuer.issuer.rstrip("/")
        return ProviderMetadata(
            issuer=issuer.issuer,
            jwks_uri=f"{base}/.well-known/jwks.json",
            token_endpoint=f"{base}/api/auth/token",
            scopes_supported=SCOPES,
            response_types_supported=("token",),
            subject_types_supported=("public",),
            id_token_signing_alg_values_supported=("EdDSA",),
        )

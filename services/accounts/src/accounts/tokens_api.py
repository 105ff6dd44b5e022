"""Endpoints for access tokens and for the keys that verify them."""

from contextlib import suppress
from hashlib import sha256
from typing import Any

import structlog
from litestar import Controller, Request, Response, get, post
from litestar.datastructures import CacheControlHeader, ResponseHeader
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException, TooManyRequestsException
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Link
from litestar.params import JSONBody
from starkeel_db import read_only
from starkeel_http import (
    AccountLimit,
    limit_by_account,
    limit_by_address,
    not_modified,
    problem_responses,
    response_links,
)
from starkeel_observability import counter, quiet_access_log

from .emails import EmailAddress
from .schemas import Credentials, JsonWebKeySet, ProviderMetadata, Refresh, Revocations, Token
from .scopes import SCOPES
from .security_events import SecurityEvents, log_account
from .sessions import Grant, Sessions
from .token_requests import key_of
from .tokens import TokenIssuer
from .users import Users

log = structlog.get_logger(__name__)

_ETAG = ResponseHeader(name="ETag", description="Version of the list.", documentation_only=True)
_TOKENS_ISSUED = counter("tokens_issued_total", "Token requests by result.", labels=("result",))

_OF_SESSION = {
    "refresh": Link(
        operation_id="ApiAuthRefreshRefresh",
        request_body={"refresh_token": "$response.body#/refresh_token"},
        description="Refresh the tokens.",
    ),
    "sign_out": Link(
        operation_id="ApiAuthSignOutSignOut",
        request_body={"refresh_token": "$response.body#/refresh_token"},
        description="Sign out.",
    ),
}


class TokenController(Controller):
    """Access tokens."""

    path = "/api/auth"
    tags = ("tokens",)

    @post(
        "/token",
        summary="Sign in",
        status_code=200,
        opt=limit_by_address("token")
        | limit_by_account("sign_in_account")
        | response_links({200: _OF_SESSION}),
        response_description="The tokens.",
        cache_control=CacheControlHeader(no_store=True),
        responses=problem_responses(400, 401, 403, 413, 415, 429, 503),
    )
    async def token(
        self,
        data: JSONBody[Credentials],
        request: Request[Any, Any, Any],
        users: NamedDependency[Users],
        sessions: NamedDependency[Sessions],
        issuer: NamedDependency[TokenIssuer],
        security_events: NamedDependency[SecurityEvents],
        account_limit: NamedDependency[AccountLimit],
        hides_addresses: NamedDependency[bool],
        requires_verification: NamedDependency[bool],
    ) -> Token:
        """Exchange an email address and its password for the tokens of a new session.

        Neither the response nor its duration reveals whether the address is registered.
        """
        key = key_of(request)
        email = None
        with suppress(ValueError):
            email = EmailAddress.parse(data.email)
        # As it is compared: each spelling of an address is the same account.
        account = security_events.account(data.email if email is None else email.key)
        try:
            await account_limit.count(account)
        except TooManyRequestsException:
            if account_limit.is_exceeded:
                log_account("sign_in_slowed", "sign-in slowed", account=account)
            raise
        user = await users.authenticate(email, data.password)
        is_unverified = requires_verification and user is not None and user.email_verified_at is None
        # A 403 would reveal that the registration took place, which `SIGN_UP_HIDES_ADDRESSES` hides.
        if user is None or (is_unverified and hides_addresses):
            _TOKENS_ISSUED.labels(result="refused").inc()
            security_events.log("sign_in_refused", "token refused", email=data.email)
            raise NotAuthorizedException(
                "The email address or the password is wrong.", headers={"WWW-Authenticate": "Bearer"}
            )
        account_limit.remember(account)
        if is_unverified:
            _TOKENS_ISSUED.labels(result="refused").inc()
            raise PermissionDeniedException(
                "The email address is not verified: confirm the mail to it, or request another one."
            )
        token = _token(
            await sessions.start(user.id, client=request.headers.get("user-agent", ""), key=key), issuer
        )
        _TOKENS_ISSUED.labels(result="issued").inc()
        log.info("token issued", user_id=str(user.id))
        return token

    @post(
        "/refresh",
        summary="Refresh the tokens",
        status_code=200,
        opt=limit_by_address("refresh") | response_links({200: _OF_SESSION}),
        response_description="The new tokens.",
        cache_control=CacheControlHeader(no_store=True),
        responses=problem_responses(400, 401, 403, 413, 415, 429, 503),
    )
    async def refresh(
        self,
        data: JSONBody[Refresh],
        request: Request[Any, Any, Any],
        users: NamedDependency[Users],
        sessions: NamedDependency[Sessions],
        issuer: NamedDependency[TokenIssuer],
    ) -> Token:
        """Exchange a refresh token for a new access token and a new refresh token, which replaces it.

        The same request may be repeated within a few seconds if its response was lost. A replaced token that
        is used later ends the session.
        """
        grant = await sessions.refresh(data.refresh_token, key=key_of(request))
        if grant is None:
            raise NotAuthorizedException(
                "The refresh token is not accepted; sign in again.", headers={"WWW-Authenticate": "Bearer"}
            )
        await users.get_active(str(grant.user_id))
        return _token(grant, issuer)


def _token(grant: Grant, issuer: TokenIssuer) -> Token:
    access_token = issuer.issue(
        grant.user_id,
        session_id=grant.session_id,
        issued_at=grant.issued_at,
        expires_at=grant.access_expires_at,
        key=grant.key,
    )
    return Token(
        token_type="Bearer" if grant.key is None else "DPoP",
        access_token=access_token,
        expires_in=int((grant.access_expires_at - grant.issued_at).total_seconds()),
        refresh_token=grant.refresh_token,
        refresh_expires_in=int((grant.expires_at - grant.issued_at).total_seconds()),
    )


class DiscoveryController(Controller):
    """Discovery of the issuer's keys and endpoints."""

    path = "/.well-known"
    tags = ("discovery",)
    cache_control = CacheControlHeader(public=True, max_age=300)
    # Every worker of other services polls these.
    opt = limit_by_address("discovery") | quiet_access_log()

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
        "/revocations",
        summary="Get the ended sessions",
        opt=read_only(),
        # Each reader checks for a new list: a cached one would delay the end of tokens.
        cache_control=CacheControlHeader(no_cache=True),
        response_description="The list.",
        response_headers=[_ETAG],
        responses=problem_responses(503) | {304: ResponseSpec(None, description="The list is unchanged.")},
    )
    async def revocations(
        self, request: Request[Any, Any, Any], sessions: NamedDependency[Sessions]
    ) -> Response[Revocations]:
        """Return the sessions that have ended while their access tokens are valid.

        A service that verifies access tokens rejects those with a `sid` on the list.
        """
        ended = await sessions.ended()
        etag = f'"{sha256(b"".join(session_id.bytes for session_id in ended)).hexdigest()[:32]}"'
        unchanged = not_modified(request, etag=etag)
        return unchanged or Response(Revocations(sessions=ended), headers={"ETag": etag})

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

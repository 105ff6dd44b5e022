"""Endpoint for the access tokens of services."""

from typing import Any

import structlog
from litestar import Controller, Request, post
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException
from litestar.params import URLEncodedBody
from starkeel_http import limit_by_address, problem_responses
from starkeel_observability import counter

from .schemas import ServiceToken, ServiceTokenRequest, validated
from .security_events import count
from .service_clients import ServiceClient, ServiceClients
from .token_requests import key_of
from .tokens import TokenIssuer

log = structlog.get_logger(__name__)

_ISSUED = counter("service_tokens_issued_total", "Token requests of services by result.", labels=("result",))


class ServiceTokenController(Controller):
    """Access tokens of services."""

    path = "/api/auth"
    tags = ("tokens",)

    @post(
        "/service-token",
        summary="Get a token of a service",
        status_code=200,
        opt=limit_by_address("service_token"),
        response_description="The token.",
        cache_control=CacheControlHeader(no_store=True),
        responses=problem_responses(400, 401, 413, 415, 429, 503),
    )
    async def token(
        self,
        data: URLEncodedBody[ServiceTokenRequest],
        request: Request[Any, Any, Any],
        service_clients: NamedDependency[ServiceClients],
        issuer: NamedDependency[TokenIssuer],
    ) -> ServiceToken:
        """Exchange the credentials of a registered client for an access token (RFC 6749, 4.4).

        The credentials are in `Authorization: Basic`. The token has all scopes of the client, or those of
        `scope`; there is no refresh token.
        """
        key = key_of(request)
        client = service_clients.authenticate(request.headers.get("authorization", ""))
        if client is None:
            _ISSUED.labels(result="refused").inc()
            count("service_client_refused")
            # What was sent as client ID may be a secret.
            log.info("service token refused", event_kind="service_client_refused")
            raise NotAuthorizedException(
                "The client or its secret is wrong.", headers={"WWW-Authenticate": 'Basic realm="accounts"'}
            )
        validated("grant_type", _client_credentials, data.grant_type)
        scope = validated("scope", lambda text: _granted(client, text), data.scope)
        token, lifetime_s = issuer.issue_to_service(client.id, scope=scope, key=key)
        _ISSUED.labels(result="issued").inc()
        log.info("service token issued", client_id=client.id, scope=scope)
        return ServiceToken(
            access_token=token,
            token_type="Bearer" if key is None else "DPoP",
            expires_in=lifetime_s,
            scope=scope,
        )


def _client_credentials(grant_type: str) -> None:
    if grant_type != "client_credentials":
        raise ValueError("must be client_credentials")


def _granted(client: ServiceClient, requested: str) -> str:
    scopes = set(requested.split())
    if not scopes <= set(client.scopes):
        raise ValueError("contains a scope that is not registered for this client")
    return " ".join(scope for scope in client.scopes if not scopes or scope in scopes)

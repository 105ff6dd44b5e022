"""What the guards mean, in the OpenAPI document."""

from copy import copy

from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityRequirement, SecurityScheme
from litestar.routes import BaseRoute, HTTPRoute

from ._guards import Guard

SCHEME = "bearer"


def with_scheme(config: OpenAPIConfig) -> OpenAPIConfig:
    """Return the configuration with our security scheme added, unless the application has one of the name."""
    components = config.components if isinstance(config.components, list) else [config.components]
    if any(SCHEME in (component.security_schemes or {}) for component in components):
        return config
    scheme = SecurityScheme(
        type="http", scheme="bearer", bearer_format="JWT", description="An access token (RFC 9068)."
    )
    # A copy: applications that bring no configuration share one of Litestar's.
    extended = copy(config)
    extended.components = [*components, Components(security_schemes={SCHEME: scheme})]
    return extended


def document(route: BaseRoute) -> None:
    """Say of each guarded handler of a route that it takes a token, and with which scopes."""
    if isinstance(route, HTTPRoute):
        for handler in route.route_handlers:
            _document(handler)


def _document(handler: HTTPRouteHandler) -> None:
    guards = [guard for guard in handler.resolve_guards() if isinstance(guard, Guard)]
    if not guards or any(SCHEME in requirement for requirement in handler.security or ()):
        return
    scopes = sorted(frozenset[str]().union(*(guard.scopes for guard in guards)))
    requirement: SecurityRequirement = {SCHEME: scopes}
    handler.security = [*(handler.security or ()), requirement]

"""Guards for an application."""

import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from copy import copy
from typing import TYPE_CHECKING, final

import anyio
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityRequirement, SecurityScheme
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute

from ._requests.authenticator import Authenticator
from ._requests.guards import STATE_KEY, Guard, provide_principal
from ._settings import AuthSettings, IssuerSettings
from ._tokens.keys import SigningKeys
from ._tokens.verifier import KeySource, TokenVerifier

if TYPE_CHECKING:
    from ._tokens.jwks import RemoteKeys

SCHEME = "bearer"


@final
class AuthPlugin(InitPlugin, ReceiveRoutePlugin):
    """Makes `authenticated`, `requires_scope(...)` and the dependency `principal` work.

    Its place in the list of plugins does not matter.

    Args:
        settings: Whose tokens, for whom, and, for `AuthSettings`, where the keys are.
        keys: The issuer's own keys, in the issuer itself: nothing is fetched then.
        clock: Monotonic seconds, which the age of fetched keys is measured by.

    Raises:
        TypeError: There is neither: `IssuerSettings` and no keys.
    """

    readiness_name = "token keys"
    # With keys that cannot be had for the moment, what is not guarded still works: no reason to lose traffic.
    readiness_critical = False

    def __init__(
        self,
        settings: IssuerSettings,
        keys: SigningKeys | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._remote: RemoteKeys | None = None
        if keys is not None:
            source: KeySource = keys
            self._explanation = "by its own signing keys"
        elif isinstance(settings, AuthSettings):
            source = self._remote = _fetching(settings, clock)
            self._explanation = f"by the keys at {settings.jwks_url}"
        else:
            raise TypeError("give AuthPlugin `keys`, or `AuthSettings`, which say where keys are fetched")
        verifier = TokenVerifier(source, issuer=settings.issuer, audience=settings.audience)
        self._authenticator = Authenticator(verifier, realm=settings.audience)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the dependency, the security scheme and the fetching of keys."""
        app_config.state[STATE_KEY] = self._authenticator
        app_config.dependencies.setdefault("principal", Provide(provide_principal))
        if app_config.openapi_config is not None:
            app_config.openapi_config = with_scheme(app_config.openapi_config)
        app_config.lifespan.append(self._lifespan)
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Document what the guards of a route ask for."""
        document(route)

    async def check_ready(self) -> None:
        """Raise when no token can be verified."""
        if self._remote is not None:
            self._remote.check()

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """What is on, and why."""
        yield "token verification", True, self._explanation

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncGenerator[None]:
        if self._remote is None:
            yield
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._remote.run)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()


def _fetching(settings: AuthSettings, clock: Callable[[], float]) -> "RemoteKeys":
    # Late: an issuer has no use for what fetches keys.
    from ._tokens.jwks import RemoteKeys

    return RemoteKeys(settings, clock=clock)


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

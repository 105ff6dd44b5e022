"""Guards for an application."""

import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, final

import anyio
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute

from ._authenticator import Authenticator
from ._guards import STATE_KEY, provide_principal
from ._keys import SigningKeys
from ._openapi import document, with_scheme
from ._settings import AuthSettings, IssuerSettings
from ._verifier import KeySource, TokenVerifier

if TYPE_CHECKING:
    from ._jwks import RemoteKeys


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
    from ._jwks import RemoteKeys

    return RemoteKeys(settings, clock=clock)

"""Litestar plugin for authentication."""

import warnings
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from copy import copy
from typing import TYPE_CHECKING, Self, final

import anyio
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from starkeel_config import DeclarationError, ServiceContext

from ._guards import STATE_KEY, Guard, provide_principal
from ._proofs import PROOFS_KEY, Proofs
from ._settings import AuthSettings, IssuerSettings
from ._tokens.keys import SigningKeys
from ._tokens.verifier import KeySource, TokenVerifier

if TYPE_CHECKING:
    from ._tokens.jwks import RemoteKeys
    from ._tokens.revocations import RemoteRevocations

SCHEME = "bearer"


@final
class AuthPlugin(InitPlugin, ReceiveRoutePlugin):
    """Enables the guards `authenticated` and `requires_scope(...)` and the dependency `principal`.

    Create it by `AuthPlugin.issuer` or `AuthPlugin.verifier`; the constructor is deprecated. Its position in
    the list of plugins does not matter.
    """

    readiness_name = "token keys"

    def __init__(
        self, settings: IssuerSettings, keys: SigningKeys | None = None, *, _is_deprecated: bool = True
    ) -> None:
        if _is_deprecated:
            warnings.warn(
                "AuthPlugin(...) is deprecated: use AuthPlugin.issuer(settings, keys) in the service that "
                "issues tokens, and AuthPlugin.verifier(settings) in others",
                DeprecationWarning,
                stacklevel=2,
            )
        self._remote_keys: RemoteKeys | None = None
        self._revocations: RemoteRevocations | None = None
        self._signing_keys = keys
        self._dpop = settings.dpop
        if keys is not None:
            source: KeySource = keys
            self._key_source = "with its own signing keys"
        elif isinstance(settings, AuthSettings):
            # Imported here: an issuer does not fetch keys.
            from ._tokens import jwks

            source = self._remote_keys = jwks.RemoteKeys(settings)
            self._key_source = f"with the keys at {settings.jwks_url}"
            self._revocations = _remote_revocations(settings)
        else:
            raise TypeError("AuthPlugin requires `keys`, or `AuthSettings` with the URL of the keys")
        self._verifier = TokenVerifier(
            source, issuer=settings.issuer, audience=settings.audience, revocations=self._revocations
        )

    @classmethod
    def issuer(cls, settings: IssuerSettings, keys: SigningKeys) -> Self:
        """Create the plugin of the service that issues the tokens and verifies them with its own keys."""
        return cls(settings, keys, _is_deprecated=False)

    @classmethod
    def verifier(cls, settings: AuthSettings) -> Self:
        """Create the plugin of a service that verifies tokens of another one and fetches its keys."""
        return cls(settings, _is_deprecated=False)

    @classmethod
    def for_service(cls, groups: Mapping[str, IssuerSettings], service: ServiceContext) -> Self:
        """Create the plugin from a service's settings.

        Raises:
            DeclarationError: The service issues tokens; its plugin needs the signing keys.
        """
        settings = service.only(groups)
        if not isinstance(settings, AuthSettings):
            raise DeclarationError(
                f"{service.name} has IssuerSettings: pass `AuthPlugin.issuer(settings, keys)` in `plugins`"
            )
        return cls.verifier(settings)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the dependency, the security scheme and the background fetch of keys."""
        app_config.state[STATE_KEY] = self._verifier
        if self._dpop != "off":
            app_config.state[PROOFS_KEY] = Proofs(is_required=self._dpop == "required")
        app_config.dependencies.setdefault("principal", Provide(provide_principal))
        if app_config.openapi_config is not None:
            app_config.openapi_config = _with_security_scheme(app_config.openapi_config)
        if self._remote_keys is not None:
            app_config.lifespan.append(self._fetching)
        if self._revocations is not None:
            app_config.plugins.append(RevocationsCheck(self._revocations))
        if self._signing_keys is not None:
            app_config.on_startup.append(self._signing_keys.load)
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Add the requirements of a route's guards to the OpenAPI document."""
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            guards = [guard for guard in handler.resolve_guards() if isinstance(guard, Guard)]
            if guards and not any(SCHEME in requirement for requirement in handler.security or ()):
                scopes = frozenset[str]().union(*(guard.scopes for guard in guards))
                handler.security = [*(handler.security or ()), {SCHEME: sorted(scopes)}]

    @property
    def readiness_critical(self) -> bool:
        """Whether keys were never fetched: a wrong URL must not pass a rollout.

        Later a failure of the issuer must not take all services out of their load balancers.
        """
        return self._remote_keys is not None and not self._remote_keys.were_fetched

    async def check_ready(self) -> None:
        """Raise when there are no usable keys."""
        if self._remote_keys is not None:
            # The first fetch has neither succeeded nor failed yet.
            await self._remote_keys.first_attempt.wait()
            self._remote_keys.check()

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Return this plugin's lines of the start report."""
        yield "token verification", True, self._key_source
        if self._remote_keys is not None:
            is_set = (
                "is set"
                if self._revocations is not None
                else "is not set: tokens are valid until they expire"
            )
            yield "token revocations", self._revocations is not None, f"JWT_REVOCATIONS_URL {is_set}"

    @asynccontextmanager
    async def _fetching(self, _: Litestar) -> AsyncGenerator[None]:
        assert self._remote_keys is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._remote_keys.run)
            if self._revocations is not None:
                tasks.start_soon(self._revocations.run)
            yield
            tasks.cancel_scope.cancel()


@final
class RevocationsCheck(InitPlugin):
    """Non-critical readiness check: reports that the list of ended sessions is out of date."""

    readiness_name = "token revocations"
    readiness_critical = False

    def __init__(self, revocations: "RemoteRevocations") -> None:
        self._revocations = revocations

    async def check_ready(self) -> None:
        """Raise when the list is older than three intervals.

        Raises:
            RevocationsUnavailableError: The list was never fetched, or the last fetches failed.
        """
        await self._revocations.first_attempt.wait()
        self._revocations.check()


def _remote_revocations(settings: AuthSettings) -> "RemoteRevocations | None":
    if settings.revocations_url is None:
        return None
    from starkeel_config import TlsFiles

    from ._tokens.revocations import RemoteRevocations

    return RemoteRevocations(
        settings.revocations_url,
        interval_s=settings.revocations_interval_s,
        timeout_s=settings.jwks_timeout_s,
        files=TlsFiles(settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file),
    )


def _with_security_scheme(config: OpenAPIConfig) -> OpenAPIConfig:
    """Add the security scheme to a copy of the configuration, unless it has a scheme of that name."""
    components = config.components if isinstance(config.components, list) else [config.components]
    if any(SCHEME in (component.security_schemes or {}) for component in components):
        return config
    scheme = SecurityScheme(
        type="http", scheme="bearer", bearer_format="JWT", description="An access token (RFC 9068)."
    )
    # A copy: applications without their own configuration share one of Litestar's.
    extended = copy(config)
    extended.components = [*components, Components(security_schemes={SCHEME: scheme})]
    return extended

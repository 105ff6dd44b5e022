"""Application factory of accounts."""

from advanced_alchemy.base import orm_registry
from litestar import Litestar
from litestar.di import Provide
from starkeel_auth import AuthPlugin
from starkeel_db import DatabasePlugin
from starkeel_http import EdgePlugin, openapi
from starkeel_observability import ObservabilityPlugin
from starkeel_server import ServerPlugin

from .keys import signing_keys
from .passwords import PasswordHashing
from .settings import Settings
from .tokens import TokenIssuer
from .tokens_api import DiscoveryController, TokenController
from .users_api import UserController


def create_app(settings: Settings) -> Litestar:
    """Create the application; it opens no connections before it is started."""
    keys = signing_keys(settings.jwt_private_key, database_url=settings.database.url.reveal())
    issuer = TokenIssuer(
        keys=keys,
        issuer=settings.auth.issuer,
        audience=settings.auth.audience,
        lifetime_s=settings.jwt_expiration_hours * 3600,
    )
    hashing = PasswordHashing()
    limits = {
        "sign_up": settings.rate_limit_sign_up,
        "token": settings.rate_limit_token,
        "password": settings.rate_limit_password,
    }
    return Litestar(
        route_handlers=[UserController, TokenController, DiscoveryController],
        dependencies={
            "issuer": Provide(lambda: issuer, sync_to_thread=False),
            "hashing": Provide(lambda: hashing, sync_to_thread=False),
        },
        openapi_config=openapi("accounts", "Users, passwords and access tokens."),
        plugins=[
            ObservabilityPlugin(settings.observability),
            ServerPlugin(settings.server),
            EdgePlugin(settings.http, limits=limits),
            DatabasePlugin(
                settings.database, metadata=orm_registry.metadata, migrations="accounts.migrations"
            ),
            AuthPlugin.issuer(settings.auth, keys),
        ],
    )

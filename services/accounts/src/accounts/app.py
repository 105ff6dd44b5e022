"""Application factory of accounts."""

from litestar import Litestar
from litestar.di import NamedDependency, Provide
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_auth import AuthPlugin
from starkeel_server import build

from . import SERVICE
from .passwords import PasswordHashing
from .settings import Settings
from .tokens import TokenIssuer, signing_keys
from .tokens_api import DiscoveryController, TokenController
from .users import Users
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

    def provide_users(session: NamedDependency[AsyncSession]) -> Users:
        return Users(session, hashing)

    return build(
        SERVICE,
        settings,
        handlers=[UserController, TokenController, DiscoveryController],
        plugins=[AuthPlugin.issuer(settings.auth, keys)],
        dependencies={
            "issuer": Provide(lambda: issuer, sync_to_thread=False),
            "users": Provide(provide_users, sync_to_thread=False),
        },
    )

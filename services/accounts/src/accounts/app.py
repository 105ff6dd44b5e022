"""Application factory of accounts."""

from datetime import timedelta
from urllib.parse import urlsplit

from litestar import Litestar
from litestar.di import NamedDependency, Provide
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_auth import AuthPlugin, Principal
from starkeel_db import OutboxPlugin
from starkeel_jobs import JobsPlugin
from starkeel_messaging import MessagingPlugin
from starkeel_server import build

from . import SERVICE
from .expired_rows import delete_expired_rows
from .mail_flows import MailFlows
from .mail_flows_api import MailFlowController
from .mail_sending import MailRequests, MailSender
from .passwords import PasswordHashing, PasswordPolicy
from .security_events import SecurityEvents
from .service_clients import ServiceClients
from .service_tokens_api import ServiceTokenController
from .sessions import SessionPolicy, Sessions
from .sessions_api import SessionController, SignOutController
from .settings import Settings
from .tokens import TokenIssuer, signing_keys
from .tokens_api import DiscoveryController, TokenController
from .user_events import PUBLISHED
from .users import User, Users
from .users_api import UserController

_EVENT_RETENTION = timedelta(days=1)


def create_app(settings: Settings) -> Litestar:
    """Create the application; it opens no connections before it is started."""
    keys = signing_keys(settings.jwt_private_key, database_url=settings.database.url.reveal())
    issuer = TokenIssuer(
        keys=keys,
        issuer=settings.auth.issuer,
        audience=settings.auth.audience,
        service_lifetime_s=settings.service_token_s,
    )
    policy = _session_policy(settings)
    security_events = SecurityEvents(lambda: keys.derived_key("accounts security events"))
    hashing = PasswordHashing()
    service_clients = ServiceClients.parse(settings.service_clients)
    sender = MailSender(settings.mail, settings.mail_flows, security_events)
    mails = MailRequests(settings.mail, sender, lambda: jobs)
    jobs = JobsPlugin(settings.jobs, jobs=[sender.job, mails.adoption, delete_expired_rows])
    messaging = MessagingPlugin(settings.messaging, service=SERVICE.name, publishes=PUBLISHED)
    host = urlsplit(settings.auth.issuer).hostname or settings.auth.issuer
    password_policy = PasswordPolicy([SERVICE.name, settings.auth.audience, host])

    def provide_users(session: NamedDependency[AsyncSession]) -> Users:
        return Users(session, hashing, security_events, messaging)

    def provide_sessions(session: NamedDependency[AsyncSession]) -> Sessions:
        return Sessions(session, policy)

    def provide_flows(session: NamedDependency[AsyncSession]) -> MailFlows:
        return MailFlows(session, hashing, security_events)

    return build(
        SERVICE,
        settings,
        handlers=[
            UserController,
            SessionController,
            TokenController,
            ServiceTokenController,
            SignOutController,
            MailFlowController,
            DiscoveryController,
        ],
        plugins=[
            AuthPlugin.issuer(settings.auth, keys),
            OutboxPlugin(retention=_EVENT_RETENTION),
            jobs,
            messaging,
        ],
        dependencies={
            "flows": Provide(provide_flows, sync_to_thread=False),
            "issuer": Provide(lambda: issuer, sync_to_thread=False),
            "hides_addresses": Provide(lambda: settings.sign_up_hides_addresses, sync_to_thread=False),
            "mails": Provide(lambda: mails, sync_to_thread=False),
            "password_policy": Provide(lambda: password_policy, sync_to_thread=False),
            "requires_verification": Provide(
                lambda: settings.sign_in_requires_verification, sync_to_thread=False
            ),
            "security_events": Provide(lambda: security_events, sync_to_thread=False),
            "service_clients": Provide(lambda: service_clients, sync_to_thread=False),
            "sessions": Provide(provide_sessions, sync_to_thread=False),
            "user": Provide(provide_user),
            "users": Provide(provide_users, sync_to_thread=False),
        },
    )


async def provide_user(principal: NamedDependency[Principal], users: NamedDependency[Users]) -> User:
    """Return the user of the token; checks that the user is active and the session has not ended."""
    return await users.get_active(principal.subject, principal.session_id)


def _session_policy(settings: Settings) -> SessionPolicy:
    access_lifetime = timedelta(hours=settings.jwt_expiration_hours)
    return SessionPolicy(
        lifetime=timedelta(hours=settings.session_lifetime_hours),
        idle=max(timedelta(hours=settings.session_idle_hours), access_lifetime),
        access_lifetime=access_lifetime,
        grace=timedelta(seconds=settings.refresh_token_grace_s),
        per_user=settings.sessions_per_user,
    )

"""Sessions of users: table and operations."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast, get_args
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Column, Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import after_commit, delete_batch
from starkeel_observability import counter

from .refresh_tokens import NONCE_BYTES, RefreshToken
from .security_events import count
from .session_table import UserSession, client_description, has_no_valid_token, is_live, is_revoked

log = structlog.get_logger(__name__)

EndReason = Literal[
    "deactivated",
    "limit",
    "password_changed",
    "password_reset",
    "refresh_token_reused",
    "signed_out",
    "signed_out_everywhere",
]

_ID = cast("Column[UUID]", UserSession.__table__.c.id)
_STARTED = counter("sessions_started_total", "Sessions started by signing in.")
_ENDED = counter("sessions_ended_total", "Sessions ended before they expired, by reason.", labels=("reason",))
_REFRESHES = counter("session_refreshes_total", "Refresh requests by result.", labels=("result",))
# Series that start at 0: the first event is an increase.
for _reason in get_args(EndReason):
    _ENDED.labels(reason=_reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """Lifetimes and limits of sessions.

    Args:
        lifetime: Time after the sign-in at which a session ends in any case.
        idle: Time without a refresh after which it ends; at least `access_lifetime`.
        access_lifetime: Lifetime of an access token, which ends with the session at the latest.
        grace: Time for which a repeated refresh returns the same refresh token again.
        per_user: Maximum number of sessions of a user.
    """

    lifetime: timedelta
    idle: timedelta
    access_lifetime: timedelta
    grace: timedelta
    per_user: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Tokens of a session, at its start or after a refresh.

    Attributes:
        issued_at: Start of the access token; like its end, a whole second.
        expires_at: Time until which the refresh token can be used.
        key: Thumbprint of the client's key that the tokens are bound to, if any.
    """

    session_id: UUID
    user_id: UUID
    refresh_token: str = field(repr=False)
    issued_at: datetime
    access_expires_at: datetime
    expires_at: datetime
    key: str | None


class Sessions:
    """Operations on sessions within one unit of work."""

    def __init__(self, session: AsyncSession, policy: SessionPolicy) -> None:
        self._session = session
        self._policy = policy

    async def start(self, user_id: UUID, *, client: str, key: str | None = None) -> Grant:
        """Start a session; the least recently used ones above the limit of the user end.

        Args:
            user_id: A user whose row is locked, so that it is not deactivated meanwhile.
            client: `User-Agent` of the client.
            key: Thumbprint of the client's key, to which the tokens of the session are bound.
        """
        now = _now()
        token = RefreshToken.first()
        started = UserSession(
            # Set here: a model's default is applied when it is written.
            id=uuid4(),
            created_at=_second(now),
            user_id=user_id,
            client=client_description(client),
            family_hash=token.family_hash,
            token_hash=token.secret_hash,
            dpop_jkt=key,
        )
        self._extend(started, now)
        await self._end(
            select(UserSession.id)
            .where(UserSession.user_id == user_id, is_live(now))
            .order_by(UserSession.last_used_at.desc(), UserSession.id)
            .offset(self._policy.per_user - 1)
            # Rows that another request is ending are not waited for.
            .with_for_update(skip_locked=True),
            "limit",
        )
        self._session.add(started)
        await self._session.flush()
        self._after_commit("session started", started.id, user_id)
        after_commit(self._session, _STARTED.inc)
        return _grant(started, token, now)

    async def refresh(self, refresh_token: str, *, key: str | None = None) -> Grant | None:
        """Replace a refresh token, or return `None` if it is not accepted.

        The repetition of a rotation within the grace period returns the same refresh token, unless that has
        been used: the client may have lost the response, or have sent several requests at once. Any other
        use of a replaced token ends the session, because two parties have its tokens; this is committed.
        See RFC 9700, 4.14.2. A session is refreshed only with the key that it was started with (RFC 9449, 5).
        """
        now = _now()
        token = RefreshToken.parse(refresh_token)
        found = await self._session_of(token, now) if token is not None else None
        if token is None or found is None or found.dpop_jkt != key:
            _REFRESHES.labels(result="refused").inc()
            log.info("refresh token refused")
            return None
        if token.secret_hash == found.token_hash:
            found.rotation_nonce = secrets.token_bytes(NONCE_BYTES)
            new = token.successor(found.rotation_nonce)
            found.previous_token_hash, found.token_hash = found.token_hash, new.secret_hash
            self._extend(found, now)
            return self._refreshed(found, new, now, result="rotated")
        is_recent = now - found.last_used_at <= self._policy.grace
        if is_recent and token.secret_hash == found.previous_token_hash and found.rotation_nonce is not None:
            found.access_expires_at = self._access_expires_at(found, now)
            return self._refreshed(found, token.successor(found.rotation_nonce), now, result="repeated")
        log.warning("refresh token reused", sid=str(found.id), user_id=str(found.user_id))
        _REFRESHES.labels(result="reused").inc()
        count("refresh_token_reused")
        await self.end(found.id, "refresh_token_reused")
        # The response is an error, with which the unit of work would be rolled back.
        await self._session.commit()
        return None

    async def end(self, session_id: UUID, reason: EndReason, *, user_id: UUID | None = None) -> bool:
        """End a session; return False if it has ended or, with `user_id`, is one of another user."""
        found = select(UserSession.id).where(UserSession.id == session_id, is_live(_now())).with_for_update()
        return await self._end(
            found if user_id is None else found.where(UserSession.user_id == user_id), reason
        )

    async def end_by_token(self, refresh_token: str, reason: EndReason) -> None:
        """End the session of a refresh token, current or replaced; an unknown token has no effect."""
        token = RefreshToken.parse(refresh_token)
        if token is not None:
            found = select(UserSession.id).where(
                UserSession.family_hash == token.family_hash, is_live(_now())
            )
            await self._end(found.with_for_update(), reason)

    async def end_all(self, user_id: UUID, reason: EndReason) -> None:
        """End all sessions of a user."""
        found = select(UserSession.id).where(UserSession.user_id == user_id, is_live(_now()))
        # In one order, so that concurrent requests do not lock each other out.
        await self._end(found.order_by(UserSession.id).with_for_update(), reason)

    async def live(self, user_id: UUID) -> Sequence[UserSession]:
        """Return the sessions of a user, most recently used first."""
        return (
            await self._session.scalars(
                select(UserSession)
                .where(UserSession.user_id == user_id, is_live(_now()))
                .order_by(UserSession.last_used_at.desc(), UserSession.id)
            )
        ).all()

    async def ended(self) -> Sequence[UUID]:
        """Return the ids of all sessions that have ended while an access token may be valid, sorted."""
        statement = select(UserSession.id).where(is_revoked(_now())).order_by(UserSession.id)
        return (await self._session.scalars(statement)).all()

    async def _end(self, ids: Select[Any], reason: EndReason) -> bool:
        found = (await self._session.scalars(ids)).all()
        if not found:
            return False
        ended = update(UserSession).where(UserSession.id.in_(found))
        rows = await self._session.execute(
            ended.values(ended_at=_now(), end_reason=reason).returning(UserSession.id, UserSession.user_id)
        )
        for session_id, user_id in rows.all():
            self._after_commit("session ended", session_id, user_id, reason=reason)
            after_commit(self._session, _ENDED.labels(reason=reason).inc)
        return True

    def _extend(self, session: UserSession, now: datetime) -> None:
        """Postpone the idle end of a session that is used."""
        session.last_used_at = now
        session.access_expires_at = self._access_expires_at(session, now)
        session.expires_at = min(session.created_at + self._policy.lifetime, now + self._policy.idle)

    def _access_expires_at(self, session: UserSession, now: datetime) -> datetime:
        return min(_second(now) + self._policy.access_lifetime, session.created_at + self._policy.lifetime)

    async def _session_of(self, token: RefreshToken, now: datetime) -> UserSession | None:
        """Return the session of a token, locked: concurrent requests with one token are handled in turn."""
        is_family = UserSession.family_hash == token.family_hash
        return await self._session.scalar(
            select(UserSession).where(is_family, is_live(now)).with_for_update()
        )

    def _refreshed(self, session: UserSession, token: RefreshToken, now: datetime, *, result: str) -> Grant:
        after_commit(self._session, _REFRESHES.labels(result=result).inc)
        self._after_commit("session refreshed", session.id, session.user_id, result=result)
        return _grant(session, token, now)

    def _after_commit(self, message: str, session_id: UUID, user_id: UUID, **fields: str) -> None:
        ids = {"sid": str(session_id), "user_id": str(user_id)}
        after_commit(self._session, lambda: log.info(message, **ids, **fields))


def _grant(session: UserSession, token: RefreshToken, now: datetime) -> Grant:
    return Grant(
        session_id=session.id,
        user_id=session.user_id,
        refresh_token=token.encode(),
        issued_at=_second(now),
        access_expires_at=session.access_expires_at,
        expires_at=session.expires_at,
        key=session.dpop_jkt,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _second(now: datetime) -> datetime:
    return now.replace(microsecond=0)


async def delete_old_sessions(session: AsyncSession) -> int:
    """Delete at most 1000 sessions of which no token is valid any more, and return their number."""
    return await delete_batch(session, _ID, has_no_valid_token(_now()))

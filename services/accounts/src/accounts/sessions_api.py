"""Endpoints for the sessions of the current user, and for signing out."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, delete, get, post
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.openapi.spec import Example, Link, Operation, RequestBody
from litestar.params import JSONBody, PathParameter
from starkeel_auth import Principal, authenticated
from starkeel_db import read_only
from starkeel_http import limit_by_address, problem_responses, response_links

from .schemas import SESSION_ID, SessionView, SignOut
from .session_table import UserSession
from .sessions import Sessions
from .users import User

SessionId = Annotated[
    UUID, PathParameter(description="`id` of the session.", examples=[Example(value=SESSION_ID)])
]
_END = Link(
    operation_id="ApiUsersMeSessionsSessionIdEnd",
    parameters={"session_id": "$response.body#/0/id"},
    description="End the most recently used session.",
)


@dataclass
class _OptionalBody(Operation):
    """Operation with a body that may be absent; Litestar documents every body as required."""

    def __post_init__(self) -> None:
        if isinstance(self.request_body, RequestBody):
            self.request_body.required = False


class SignOutController(Controller):
    """End of sessions."""

    path = "/api/auth"
    tags = ("sessions",)

    @post(
        "/sign-out",
        summary="Sign out",
        status_code=204,
        opt=limit_by_address("refresh"),
        security=[{"bearer": []}, {}],
        operation_class=_OptionalBody,
        response_description="The session has ended.",
        responses=problem_responses(400, 401, 413, 415, 429, 503),
    )
    async def sign_out(
        self,
        request: Request[Any, Any, Any],
        sessions: NamedDependency[Sessions],
        data: JSONBody[SignOut | None] = None,
    ) -> None:
        """End the session of a refresh token or, without a body, of the access token.

        The response is the same if the session has ended before, or the refresh token is unknown (RFC 7009).
        """
        if data is not None:
            await sessions.end_by_token(data.refresh_token, "signed_out")
            return
        await authenticated(request, request.route_handler)
        principal: Principal = request.user
        if principal.session_id is not None:
            await sessions.end(UUID(principal.session_id), "signed_out")

    @post(
        "/sign-out-everywhere",
        summary="Sign out everywhere",
        status_code=204,
        guards=[authenticated],
        response_description="All sessions of the user have ended.",
        responses=problem_responses(401, 403, 503),
    )
    async def sign_out_everywhere(
        self, user: NamedDependency[User], sessions: NamedDependency[Sessions]
    ) -> None:
        """End all sessions of the user, including the current one."""
        await sessions.end_all(user.id, "signed_out_everywhere")


class SessionController(Controller):
    """Sessions of the current user."""

    path = "/api/users/me/sessions"
    tags = ("sessions",)
    guards = (authenticated,)

    @get(
        summary="List the sessions",
        opt=read_only() | response_links({200: {"end": _END}}),
        cache_control=CacheControlHeader(no_store=True),
        response_description="The sessions, most recently used first.",
        responses=problem_responses(401, 403, 503),
    )
    async def sessions(
        self,
        user: NamedDependency[User],
        principal: NamedDependency[Principal],
        sessions: NamedDependency[Sessions],
    ) -> list[SessionView]:
        """Return all sessions of the user that have not ended; there are at most `SESSIONS_PER_USER`."""
        return [_view(each, principal) for each in await sessions.live(user.id)]

    @delete(
        "/{session_id:uuid}",
        summary="End a session",
        response_description="The session has ended.",
        responses=problem_responses(400, 401, 403, 404, 503),
    )
    async def end(
        self, session_id: SessionId, user: NamedDependency[User], sessions: NamedDependency[Sessions]
    ) -> None:
        """End a session of the user; 404 if it has ended or is one of another user."""
        if not await sessions.end(session_id, "signed_out", user_id=user.id):
            raise NotFoundException("There is no such session.")


def _view(session: UserSession, principal: Principal) -> SessionView:
    return SessionView(
        id=session.id,
        client=session.client,
        created_at=session.created_at,
        last_used_at=session.last_used_at,
        expires_at=session.expires_at,
        is_current=str(session.id) == principal.session_id,
    )

"""Endpoints for users."""

from typing import Any

from litestar import Controller, MediaType, Response, delete, get, patch, post
from litestar.datastructures import CacheControlHeader, ResponseHeader
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Link
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_auth import authenticated
from starkeel_db import read_only
from starkeel_http import limit_by_address, limit_by_user, problem_responses, response_links

from .emails import EmailAddress
from .mail_sending import MailRequests
from .passwords import PasswordPolicy
from .schemas import Deactivation, PasswordChange, Profile, SignUp, validated
from .sessions import Sessions
from .users import AddressTakenError, User, Users

_ACCEPTED = ResponseSpec(None, description="With `SIGN_UP_HIDES_ADDRESSES`: a user with the address exists.")
_LOCATION = ResponseHeader(name="Location", description="URL of the user.", documentation_only=True)
_SIGN_IN = Link(
    operation_id="ApiAuthTokenToken",
    request_body={"email": "$request.body#/email", "password": "$request.body#/password"},
    description="Sign in.",
)


class UserController(Controller):
    """Registration, and the current user."""

    path = "/api/users"
    tags = ("users",)

    @post(
        summary="Sign up",
        opt=limit_by_address("sign_up") | response_links({201: {"sign_in": _SIGN_IN}}),
        response_description="The new user.",
        response_headers=[_LOCATION],
        responses=problem_responses(400, 409, 413, 415, 429, 503) | {202: _ACCEPTED},
    )
    async def sign_up(
        self,
        data: JSONBody[SignUp],
        users: NamedDependency[Users],
        password_policy: NamedDependency[PasswordPolicy],
        hides_addresses: NamedDependency[bool],
        mails: NamedDependency[MailRequests],
        session: NamedDependency[AsyncSession],
    ) -> Response[Profile]:
        """Create a user with an email address and a password.

        With `SIGN_UP_HIDES_ADDRESSES` the response is 202 without a body, also for the address of a user, to
        which a mail about it is sent. A new user gets a mail for the verification of the address.
        """
        email = validated("email", EmailAddress.parse, data.email)
        password = validated("password", password_policy.validate, data.password, email.written)
        try:
            profile = _profile(await users.sign_up(email, password))
            await mails.add_if_on(session, "verify_email", email)
        except AddressTakenError:
            if not hides_addresses:
                raise
            await mails.add_if_on(session, "already_registered", email)
        if hides_addresses:
            nothing: Response[Any] = Response(b"", status_code=202, media_type=MediaType.TEXT)
            return nothing
        return Response(profile, headers={"Location": "/api/users/me"})

    @get(
        "/me",
        summary="Get the current user",
        guards=[authenticated],
        opt=read_only() | limit_by_user("profile"),
        cache_control=CacheControlHeader(no_store=True),
        response_description="The user.",
        responses=problem_responses(401, 403, 429, 503),
    )
    async def me(self, user: NamedDependency[User]) -> Profile:
        """Return the user of the token; 403 if the user has been deactivated."""
        return _profile(user)

    @patch(
        "/me",
        summary="Change the password",
        response_description="The user.",
        guards=[authenticated],
        opt=limit_by_user("password"),
        responses=problem_responses(400, 401, 403, 413, 415, 429, 503),
    )
    async def change_password(
        self,
        data: JSONBody[PasswordChange],
        user: NamedDependency[User],
        users: NamedDependency[Users],
        sessions: NamedDependency[Sessions],
        password_policy: NamedDependency[PasswordPolicy],
    ) -> Profile:
        """Replace the password. All sessions of the user end, including the current one."""
        new = validated("new_password", password_policy.validate, data.new_password, user.email)
        await users.change_password(user, current=data.current_password, new=new)
        await sessions.end_all(user.id, "password_changed")
        return _profile(user)

    @delete(
        "/me",
        summary="Deactivate the current user",
        response_description="The user has been deactivated.",
        guards=[authenticated],
        opt=limit_by_user("password"),
        responses=problem_responses(400, 401, 403, 413, 415, 429, 503),
    )
    async def deactivate(
        self,
        data: JSONBody[Deactivation],
        user: NamedDependency[User],
        users: NamedDependency[Users],
        sessions: NamedDependency[Sessions],
    ) -> None:
        """Deactivate the user of the token: all sessions end, and no more tokens are issued."""
        await users.deactivate(user, password=data.password)
        await sessions.end_all(user.id, "deactivated")


def _profile(user: User) -> Profile:
    return Profile(
        id=user.id,
        email=user.email,
        email_verified=user.email_verified_at is not None,
        created_at=user.created_at,
    )

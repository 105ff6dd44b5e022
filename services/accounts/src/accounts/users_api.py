"""The users' part of the interface."""

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.datastructures import CacheControlHeader, ResponseHeader
from litestar.di import NamedDependency, Provide
from litestar.exceptions import PermissionDeniedException, ValidationException
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_auth import Principal, authenticated
from starkeel_db import read_only
from starkeel_http import limit_by_address, limit_by_user, problem_responses

from .emails import EmailAddress
from .messages import Deactivation, PasswordChange, Profile, SignUp
from .passwords import Passwords, WeakPasswordError, accept
from .users import User, Users

_PRIVATE = CacheControlHeader(no_store=True)
_LOCATION = ResponseHeader(name="Location", description="Where the user is.", documentation_only=True)


def provide_users(session: NamedDependency[AsyncSession], passwords: NamedDependency[Passwords]) -> Users:
    """Give the users of this request's unit of work."""
    return Users(session, passwords)


class UserController(Controller):
    """Signing up, and looking after oneself."""

    path = "/api/users"
    tags = ("users",)
    dependencies = {"users": Provide(provide_users, sync_to_thread=False)}  # noqa: RUF012  (Litestar's own form)

    @post(
        summary="Sign up",
        opt=limit_by_address("sign_up"),
        response_description="The new user.",
        response_headers=[_LOCATION],
        responses=problem_responses(400, 409, 413, 429, 503),
    )
    async def sign_up(self, data: JSONBody[SignUp], users: NamedDependency[Users]) -> Response[Profile]:
        """Make a user of an email address and a password."""
        try:
            email = EmailAddress.parse(data.email)
        except ValueError as error:
            raise _invalid("email", error) from error
        password = _accepted(data.password, field="password", email_local_part=email.local_part)
        profile = _profile(await users.sign_up(email, password))
        return Response(profile, status_code=201, headers={"Location": "/api/users/me"})

    @get(
        "/me",
        summary="Who am I",
        guards=[authenticated],
        opt=read_only(),
        cache_control=_PRIVATE,
        response_description="The user.",
        responses=problem_responses(401, 403, 503),
    )
    async def me(self, principal: NamedDependency[Principal], users: NamedDependency[Users]) -> Profile:
        """Return the token's user; 403 for one who has been deactivated."""
        return _profile(await users.active(_id(principal)))

    @patch(
        "/me",
        summary="Change my password",
        response_description="The user; the password is changed.",
        guards=[authenticated],
        opt=limit_by_user("password"),
        responses=problem_responses(400, 401, 403, 413, 429, 503),
    )
    async def change_password(
        self,
        data: JSONBody[PasswordChange],
        principal: NamedDependency[Principal],
        users: NamedDependency[Users],
    ) -> Profile:
        """Replace the password; tokens issued before stay valid until they expire."""
        user = await users.active(_id(principal))
        local_part = user.email.rpartition("@")[0]
        new = _accepted(data.new_password, field="new_password", email_local_part=local_part)
        await users.change_password(user, current=data.current_password, new=new)
        return _profile(user)

    @delete(
        "/me",
        summary="Leave",
        response_description="The user is deactivated.",
        guards=[authenticated],
        opt=limit_by_user("password"),
        responses=problem_responses(400, 401, 403, 413, 429, 503),
    )
    async def deactivate(
        self,
        data: JSONBody[Deactivation],
        principal: NamedDependency[Principal],
        users: NamedDependency[Users],
    ) -> None:
        """Deactivate the token's user: no token is issued any more, and this one opens nothing here."""
        await users.deactivate(await users.active(_id(principal)), password=data.password)


def _id(principal: NamedDependency[Principal]) -> UUID:
    try:
        return UUID(principal.subject)
    except ValueError as error:
        raise PermissionDeniedException("The token is not a user's.") from error


def _profile(user: User) -> Profile:
    return Profile(id=user.id, email=user.email, created_at=user.created_at)


def _accepted(password: str, *, field: str, email_local_part: str) -> str:
    try:
        return accept(password, email_local_part=email_local_part)
    except WeakPasswordError as error:
        raise _invalid(field, error) from error


def _invalid(field: str, error: ValueError) -> ValidationException:
    message = str(error)
    return ValidationException(
        f"`{field}` {message}", extra=[{"key": field, "message": message, "source": "body"}]
    )

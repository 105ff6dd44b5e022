"""Endpoints for users."""

from collections.abc import Callable
from typing import TypeVar

from litestar import Controller, Response, delete, get, patch, post
from litestar.datastructures import CacheControlHeader, ResponseHeader
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import JSONBody
from starkeel_auth import Principal, authenticated
from starkeel_db import read_only
from starkeel_http import limit_by_address, limit_by_user, problem_responses

from .emails import EmailAddress
from .passwords import validate_password
from .schemas import Deactivation, PasswordChange, Profile, SignUp
from .users import User, Users

T = TypeVar("T")

_LOCATION = ResponseHeader(name="Location", description="URL of the user.", documentation_only=True)


class UserController(Controller):
    """Registration, and the current user."""

    path = "/api/users"
    tags = ("users",)

    @post(
        summary="Sign up",
        opt=limit_by_address("sign_up"),
        response_description="The new user.",
        response_headers=[_LOCATION],
        responses=problem_responses(400, 409, 413, 429, 503),
    )
    async def sign_up(self, data: JSONBody[SignUp], users: NamedDependency[Users]) -> Response[Profile]:
        """Create a user with an email address and a password."""
        email = _validated("email", EmailAddress.parse, data.email)
        password = _validated("password", validate_password, data.password, email.written)
        return Response(_profile(await users.sign_up(email, password)), headers={"Location": "/api/users/me"})

    @get(
        "/me",
        summary="Get the current user",
        guards=[authenticated],
        opt=read_only() | limit_by_user("profile"),
        cache_control=CacheControlHeader(no_store=True),
        response_description="The user.",
        responses=problem_responses(401, 403, 429, 503),
    )
    async def me(self, principal: NamedDependency[Principal], users: NamedDependency[Users]) -> Profile:
        """Return the user of the token; 403 if the user has been deactivated."""
        return _profile(await users.get_active(principal.subject))

    @patch(
        "/me",
        summary="Change the password",
        response_description="The user.",
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
        """Replace the password. Tokens that were issued before stay valid until they expire."""
        user = await users.get_active(principal.subject)
        new = _validated("new_password", validate_password, data.new_password, user.email)
        await users.change_password(user, current=data.current_password, new=new)
        return _profile(user)

    @delete(
        "/me",
        summary="Deactivate the current user",
        response_description="The user has been deactivated.",
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
        """Deactivate the user of the token: no more tokens are issued, and accounts rejects this one."""
        await users.deactivate(await users.get_active(principal.subject), password=data.password)


def _profile(user: User) -> Profile:
    return Profile(id=user.id, email=user.email, created_at=user.created_at)


def _validated(field: str, validate: Callable[..., T], *values: str) -> T:
    try:
        return validate(*values)
    except ValueError as error:
        message = str(error)
        raise ValidationException(
            f"`{field}` {message}", extra=[{"key": field, "message": message, "source": "body"}]
        ) from error

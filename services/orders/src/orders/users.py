"""The calling user, and its status at accounts."""

from uuid import UUID

import msgspec
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from starkeel_auth import Principal
from starkeel_client import UpstreamClient

_ME = "/api/users/me"


class _Profile(msgspec.Struct):
    """The part of accounts' response that orders reads."""

    id: UUID


class _Refusal(msgspec.Struct):
    """Problem details (RFC 9457): another server than accounts, such as a proxy, does not send them."""

    status: int


def user_id_of(principal: Principal) -> UUID:
    """Return the id of the user that a token was issued to.

    Raises:
        PermissionDeniedException: The token was not issued to a user but, for example, to a service.
    """
    try:
        return UUID(principal.subject)
    except ValueError as error:
        raise PermissionDeniedException("The token was not issued to a user.") from error


async def require_active(principal: Principal, accounts: UpstreamClient) -> None:
    """Check at accounts, with the caller's token, that the user is active.

    Raises:
        NotAuthorizedException: Accounts does not accept the token.
        PermissionDeniedException: The user has been deactivated.
        ServiceUnavailableException: Accounts is unavailable.
        HTTPException: 502, the response of accounts is not as agreed.
    """
    response = await accounts.get(_ME, route=_ME, headers={"Authorization": f"Bearer {principal.token}"})
    if response.status_code in {401, 403}:
        accounts.decode(response, _Refusal, status={401, 403})
        if response.status_code == 401:
            raise NotAuthorizedException("The token is not accepted.", headers={"WWW-Authenticate": "Bearer"})
        raise PermissionDeniedException("This user has been deactivated.")
    accounts.decode(response, _Profile)

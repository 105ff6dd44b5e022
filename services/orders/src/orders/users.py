"""The calling user, and its status at accounts."""

from uuid import UUID

from litestar.exceptions import NotAuthorizedException, PermissionDeniedException, ServiceUnavailableException
from starkeel_auth import Principal
from starkeel_client import UpstreamClient

_ME = "/api/users/me"


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
        ServiceUnavailableException: Accounts is unavailable or sent an unexpected response.
    """
    response = await accounts.get(_ME, route=_ME, headers={"Authorization": f"Bearer {principal.token}"})
    if response.status_code == 200:
        return
    if response.status_code == 401:
        raise NotAuthorizedException("The token is not accepted.", headers={"WWW-Authenticate": "Bearer"})
    if response.status_code == 403:
        raise PermissionDeniedException("This user has been deactivated.")
    raise ServiceUnavailableException("Orders cannot be placed at the moment.", headers={"Retry-After": "1"})

"""Whether a user may order: accounts knows."""

from uuid import UUID

from litestar.exceptions import NotAuthorizedException, PermissionDeniedException, ServiceUnavailableException
from starkeel_auth import Principal
from starkeel_client import UpstreamClient

_ME = "/api/users/me"


def user_id_of(principal: Principal) -> UUID:
    """Return the user a token was issued to.

    Raises:
        PermissionDeniedException: It was issued to something else, a service perhaps.
    """
    try:
        return UUID(principal.subject)
    except ValueError as error:
        raise PermissionDeniedException("The token is not a user's.") from error


async def require_active(principal: Principal, accounts: UpstreamClient) -> None:
    """Ask accounts, in the caller's name, whether the user is still active.

    Raises:
        NotAuthorizedException: Accounts does not accept the token any more.
        PermissionDeniedException: The user has been deactivated.
        ServiceUnavailableException: Accounts is away, or answers what nobody understands.
    """
    answer = await accounts.get(_ME, route=_ME, headers={"Authorization": f"Bearer {principal.token}"})
    if answer.status_code == 200:
        return
    if answer.status_code == 401:
        raise NotAuthorizedException("The token is not accepted.", headers={"WWW-Authenticate": "Bearer"})
    if answer.status_code == 403:
        raise PermissionDeniedException("This user has been deactivated.")
    raise ServiceUnavailableException("Orders cannot be placed at the moment.", headers={"Retry-After": "1"})

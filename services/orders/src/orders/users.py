"""Whether a user may order: accounts knows."""

from litestar.exceptions import NotAuthorizedException, PermissionDeniedException, ServiceUnavailableException
from starkeel_auth import Principal
from starkeel_client import UpstreamClient

_ME = "/api/users/me"


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

"""The calling user, and its status at accounts."""

from uuid import UUID

from litestar.exceptions import NotAuthorizedException, PermissionDeniedException, TooManyRequestsException
from starkeel_auth import Principal
from starkeel_client import UpstreamProblemError

from .accounts_client import AccountsClient, Profile


def user_id_of(principal: Principal) -> UUID:
    """Return the id of the user that a token was issued to.

    Raises:
        PermissionDeniedException: The token was not issued to a user but, for example, to a service.
    """
    try:
        return UUID(principal.subject)
    except ValueError as error:
        raise PermissionDeniedException("The token was not issued to a user.") from error


async def require_active(principal: Principal, accounts: AccountsClient) -> Profile:
    """Check at accounts, with the caller's token, that the user is active, and return its profile.

    Raises:
        NotAuthorizedException: Accounts does not accept the token.
        PermissionDeniedException: The user has been deactivated.
        TooManyRequestsException: Accounts limits the user, with `Retry-After`.
        ServiceUnavailableException: Accounts is unavailable.
        HTTPException: 502, the response of accounts is not as agreed.
    """
    try:
        return await accounts.me(token=principal.token)
    except UpstreamProblemError as error:
        if error.status == 401:
            raise NotAuthorizedException(
                "The token is not accepted.", headers={"WWW-Authenticate": "Bearer"}
            ) from error
        if error.status == 403:
            raise PermissionDeniedException("This user has been deactivated.") from error
        # The limit is one of the user, whose token was sent: it is no outage.
        raise TooManyRequestsException(
            "Too many requests of this user.", headers={"Retry-After": str(error.retry_after_s)}
        ) from error

"""Authentication errors with their challenges (RFC 6750, 3), as Litestar exceptions."""

from collections.abc import Iterable

from litestar.exceptions import NotAuthorizedException, PermissionDeniedException, ServiceUnavailableException

RETRY_AFTER_S = 1


def no_token(realm: str) -> NotAuthorizedException:
    """Return a 401 error for a request without a token; it has no error code (RFC 6750, 3.1)."""
    return NotAuthorizedException(
        "An access token is required.", headers={"WWW-Authenticate": f'Bearer realm="{realm}"'}
    )


def invalid_token(realm: str, reason: str) -> NotAuthorizedException:
    """Return a 401 error for a rejected token. `reason` must not need escaping in a quoted string."""
    challenge = f'Bearer realm="{realm}", error="invalid_token", error_description="{reason}"'
    return NotAuthorizedException(
        f"{reason[0].upper()}{reason[1:]}.", headers={"WWW-Authenticate": challenge}
    )


def missing_scope(realm: str, scopes: Iterable[str]) -> PermissionDeniedException:
    """Return a 403 error for a valid token without the required scopes."""
    required = " ".join(sorted(scopes))
    challenge = f'Bearer realm="{realm}", error="insufficient_scope", scope="{required}"'
    return PermissionDeniedException(
        f"The token lacks a required scope: {required}.",
        headers={"WWW-Authenticate": challenge},
    )


def keys_unavailable() -> ServiceUnavailableException:
    """Return a 503 error for a token that cannot be verified: not an error of the caller."""
    return ServiceUnavailableException(
        "Access tokens cannot be verified at the moment.", headers={"Retry-After": str(RETRY_AFTER_S)}
    )

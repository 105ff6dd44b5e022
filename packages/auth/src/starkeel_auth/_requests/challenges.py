"""How a refusal is told (RFC 6750, 3): as Litestar's exceptions, which `starkeel_http` renders."""

from collections.abc import Iterable

from litestar.exceptions import NotAuthorizedException, PermissionDeniedException, ServiceUnavailableException

RETRY_AFTER_S = 1


def no_token(realm: str) -> NotAuthorizedException:
    """401 for who shows no token: no error code then (RFC 6750, 3.1)."""
    return NotAuthorizedException(
        "An access token is needed.", headers={"WWW-Authenticate": f'Bearer realm="{realm}"'}
    )


def bad_token(realm: str, why: str) -> NotAuthorizedException:
    """401 for a token that is not accepted.

    Args:
        realm: The audience.
        why: A phrase of ours: it stands in a quoted string.
    """
    challenge = f'Bearer realm="{realm}", error="invalid_token", error_description="{why}"'
    return NotAuthorizedException(f"{why[0].upper()}{why[1:]}.", headers={"WWW-Authenticate": challenge})


def missing_scope(realm: str, scopes: Iterable[str]) -> PermissionDeniedException:
    """403 for a good token that does not allow this; `scopes` are what would."""
    needed = " ".join(sorted(scopes))
    challenge = f'Bearer realm="{realm}", error="insufficient_scope", scope="{needed}"'
    return PermissionDeniedException(
        f"The token does not allow this: it takes the scope {needed}.",
        headers={"WWW-Authenticate": challenge},
    )


def cannot_tell() -> ServiceUnavailableException:
    """503 while nobody can tell whether a token is good: the fault is not the caller's."""
    return ServiceUnavailableException(
        "Tokens cannot be verified at the moment.", headers={"Retry-After": str(RETRY_AFTER_S)}
    )

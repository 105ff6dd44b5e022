"""The status of every operation for each kind of access token: add a row for a new route."""

from typing import NamedTuple

BROKEN = (
    "empty",
    "no value",
    "garbage",
    "two parts",
    "basic",
    "long",
    "expired",
    "other issuer",
    "other audience",
    "other key",
    "other user",
    "without exp",
    "without sub",
    "no signature",
    "public key as secret",
)
"""Values of `Authorization` that are not a valid access token; each has the status `broken`."""


class Access(NamedTuple):
    """Statuses of a request that is valid except for its access token.

    Attributes:
        own: The user's own token, for the user's own objects.
        none: No token.
        broken: A token that is not valid; see `BROKEN`.
        stranger: The token of another user, for the first user's objects.
        deactivated: The token of a user that has been deactivated.
        ended: The token of a session that has ended.
        without_scope: A valid token of the user without any scope.
        of_service: A valid token whose subject is not a user.
        has_body: Whether the request has its body.
    """

    own: int
    none: int
    broken: int
    stranger: int
    deactivated: int
    ended: int
    without_scope: int
    of_service: int
    has_body: bool = True


def public(status: int) -> Access:
    """Return the row of an operation that reads no access token."""
    return Access(*[status] * 8)


def of_caller(status: int, *, stranger: int | None = None) -> Access:
    """Return the row of an operation of accounts on the caller, with any scope."""
    return Access(status, 401, 401, stranger or status, 403, 401, status, 403)


def of_scope(status: int, *, stranger: int | None = None) -> Access:
    """Return the row of an operation of orders, which learns of a deactivation as the end of all sessions."""
    return Access(status, 401, 401, stranger or status, 401, 401, 403, 403)


ROWS: dict[str, dict[str, Access]] = {
    "accounts": {
        "post /api/users": public(201),
        "get /api/users/me": of_caller(200),
        # The other user does not have the password in the body.
        "patch /api/users/me": of_caller(200, stranger=403),
        "delete /api/users/me": of_caller(204, stranger=403),
        "get /api/users/me/sessions": of_caller(200),
        "delete /api/users/me/sessions/{session_id}": of_caller(204, stranger=404),
        "post /api/auth/token": public(401),
        "post /api/auth/refresh": public(200),
        # Signing out is possible in any state; the subject is not read.
        "post /api/auth/sign-out": Access(204, 401, 401, 204, 204, 204, 204, 204, has_body=False),
        "post /api/auth/sign-out-everywhere": of_caller(204),
        "post /api/auth/email-verification": public(202),
        # The token in the body is that of no mail.
        "post /api/auth/email-verification/confirm": public(400),
        "post /api/auth/password-reset": public(202),
        "post /api/auth/password-reset/confirm": public(400),
        # It reads the credentials of a service.
        "post /api/auth/service-token": public(401),
        "get /.well-known/jwks.json": public(200),
        "get /.well-known/openid-configuration": public(200),
        "get /.well-known/revocations": public(200),
    },
    "orders": {
        "post /api/orders": of_scope(201),
        "get /api/orders": of_scope(200),
        "get /api/orders/{order_id}": of_scope(200, stranger=404),
        "patch /api/orders/{order_id}": of_scope(200, stranger=404),
        "post /api/orders/{order_id}/cancel": of_scope(200, stranger=404),
        "get /api/orders/events": of_scope(200),
    },
}

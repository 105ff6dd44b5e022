"""Requests that get each documented success response: add a row for a new one."""

from collections.abc import Mapping
from typing import NamedTuple

from ...support.fleet import Person


class Execution(NamedTuple):
    """One documented success response.

    Attributes:
        is_authenticated: Whether the request has the access token of a user.
        values: By name: what replaces an example in addition to `Fleet.values`, such as the address of a
            registered user. `$email` is the user's address, `$etag` the `ETag` of an earlier response.
        headers: Further headers, with the same values.
        env: Settings that the response needs; the service is started with them.
        mail: Path of a request for a mail to the user, whose token is the value of `token`.
        has_service_credentials: Whether the request has the credentials of a service.
    """

    is_authenticated: bool = True
    values: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    env: Mapping[str, str] = {}
    mail: str = ""
    has_service_credentials: bool = False

    def resolved(self, values: Mapping[str, str], person: Person, etag: str) -> dict[str, str]:
        """Return values or headers with what they refer to."""
        known = {"$email": person.email, "$etag": etag}
        return {name: known.get(value, value) for name, value in values.items()}


PUBLIC = Execution(is_authenticated=False)
CALLER = Execution()

EXECUTIONS: dict[str, dict[str, Execution]] = {
    "accounts": {
        "post /api/users 201": PUBLIC,
        "post /api/users 202": Execution(is_authenticated=False, env={"SIGN_UP_HIDES_ADDRESSES": "true"}),
        "get /api/users/me 200": CALLER,
        "patch /api/users/me 200": CALLER,
        "delete /api/users/me 204": CALLER,
        "get /api/users/me/sessions 200": CALLER,
        "delete /api/users/me/sessions/{session_id} 204": CALLER,
        "post /api/auth/token 200": Execution(is_authenticated=False, values={"email": "$email"}),
        "post /api/auth/refresh 200": PUBLIC,
        "post /api/auth/sign-out 204": PUBLIC,
        "post /api/auth/sign-out-everywhere 204": CALLER,
        "post /api/auth/email-verification 202": PUBLIC,
        "post /api/auth/email-verification/confirm 204": Execution(
            is_authenticated=False, mail="/api/auth/email-verification"
        ),
        "post /api/auth/password-reset 202": PUBLIC,
        "post /api/auth/password-reset/confirm 204": Execution(
            is_authenticated=False, mail="/api/auth/password-reset"
        ),
        "post /api/auth/service-token 200": Execution(is_authenticated=False, has_service_credentials=True),
        "get /.well-known/jwks.json 200": PUBLIC,
        "get /.well-known/openid-configuration 200": PUBLIC,
        "get /.well-known/revocations 200": PUBLIC,
        "get /.well-known/revocations 304": Execution(
            is_authenticated=False, headers={"If-None-Match": "$etag"}
        ),
    },
    "orders": {
        "post /api/orders 201": CALLER,
        "get /api/orders 200": CALLER,
        "get /api/orders/{order_id} 200": CALLER,
        "patch /api/orders/{order_id} 200": CALLER,
        "post /api/orders/{order_id}/cancel 200": CALLER,
        "get /api/orders/events 200": CALLER,
    },
}
"""By service, and by method, path and status of the response."""

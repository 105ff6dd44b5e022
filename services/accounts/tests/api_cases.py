"""The operations of accounts: a row for each in both tables."""

from tests.support.api_cases import CALLER, PUBLIC, Access, Execution, public


def of_caller(status: int, *, stranger: int | None = None) -> Access:
    """Return the row of an operation on the caller, with any scope."""
    return Access(status, 401, 401, stranger or status, 403, 401, status, 403)


ACCESS = {
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
}

EXAMPLES = {
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
    "get /.well-known/revocations 304": Execution(is_authenticated=False, headers={"If-None-Match": "$etag"}),
}

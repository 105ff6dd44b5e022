"""Request and response bodies, and errors of their fields."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID

import msgspec
from litestar.exceptions import ValidationException
from msgspec import Meta

from .passwords import MAX_LENGTH, MIN_LENGTH

T = TypeVar("T")

_EMAIL = "ada@example.com"
_PASSWORD = "a wagon full of clocks"  # noqa: S105  (an example in the documentation)
_REFRESH_TOKEN = "bm90IGEgdG9rZW4sIGJ1dCBhbiBleGFtcGxlIG9mIG9uZSB3aXRoIGl0cyBsZW5n"  # noqa: S105  (as above)
# The public key of RFC 8037, A.2.
_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    "use": "sig",
    "alg": "EdDSA",
}
SESSION_ID = "6f1f2f6e-0b44-4f1c-9a0f-2f6d2f0f7c11"

Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=320,
        description="Email address of at most 254 characters, not case-sensitive.",
        examples=[_EMAIL],
        extra_json_schema={"extra": {"format": "email"}},
    ),
]
Password = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        description="Password of the user.",
        examples=[_PASSWORD],
    ),
]


NewPassword = Annotated[
    str,
    Meta(
        min_length=MIN_LENGTH,
        max_length=MAX_LENGTH,
        description=f"{MIN_LENGTH} to {MAX_LENGTH} characters, also after Unicode normalisation (NFKC);"
        " common passwords are rejected.",
        examples=[_PASSWORD],
    ),
]

RefreshTokenText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=512,
        description="`refresh_token` of the last response with tokens.",
        examples=[_REFRESH_TOKEN],
    ),
]


class Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Email address and password of a user."""

    email: Email
    password: Password


class SignUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Registration of a user."""

    email: Email
    password: NewPassword


class PasswordChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New password, confirmed by the current one."""

    current_password: Password
    new_password: Annotated[NewPassword, Meta(examples=["seven quiet lighthouses"])]


class Deactivation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Deactivation of the user, confirmed by the password."""

    password: Password


OneTimeTokenText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=512,
        description="Token of a mail; it can be used once.",
        examples=["bm90IGEgdG9rZW4sIGJ1dCBhbiBleGFtcGxlIG9mIG9uZQ"],
    ),
]


class AddressGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Request for a mail to an address."""

    email: Email


class TokenGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Verification of an email address."""

    token: OneTimeTokenText


class PasswordReset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New password, confirmed by the token of a mail."""

    token: OneTimeTokenText
    new_password: Annotated[NewPassword, Meta(examples=["seven quiet lighthouses"])]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The current user."""

    id: Annotated[UUID, Meta(examples=["019aaf3e-9c3b-7c55-8d6a-3f1f5f0c1d2e"])]
    email: Annotated[str, Meta(examples=[_EMAIL])]
    email_verified: Annotated[
        bool, Meta(description="Whether the user has confirmed a mail to the address.", examples=[True])
    ]
    created_at: Annotated[datetime, Meta(examples=["2026-01-31T12:00:00Z"])]


class Refresh(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exchange of a refresh token."""

    refresh_token: RefreshTokenText


class SignOut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End of a session that is identified by its refresh token."""

    refresh_token: RefreshTokenText


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A session of the current user."""

    id: Annotated[UUID, Meta(examples=[SESSION_ID])]
    client: Annotated[
        str,
        Meta(description="Start of the `User-Agent` that signed in.", examples=["Mozilla/5.0 (X11)"]),
    ]
    created_at: Annotated[datetime, Meta(examples=["2026-01-31T12:00:00Z"])]
    last_used_at: Annotated[
        datetime, Meta(description="Last sign-in or refresh.", examples=["2026-01-31T13:00:00Z"])
    ]
    expires_at: Annotated[
        datetime, Meta(description="End of the session if it is not used.", examples=["2026-02-07T13:00:00Z"])
    ]
    is_current: Annotated[bool, Meta(description="Whether it is the session of the token.", examples=[True])]


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """Access token response (RFC 6749, 5.1)."""

    access_token: Annotated[str, Meta(examples=["eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.e30.c2ln"])]
    token_type: Annotated[
        Literal["Bearer", "DPoP"],
        Meta(description="`DPoP` if the request had a proof, to whose key the token is bound (RFC 9449)."),
    ] = "Bearer"  # noqa: S105  (the name of a scheme)
    expires_in: Annotated[int, Meta(description="Remaining lifetime in seconds.", examples=[3600])]
    refresh_token: Annotated[
        str, Meta(description="Token for the next refresh; each can be used once.", examples=[_REFRESH_TOKEN])
    ]
    refresh_expires_in: Annotated[
        int, Meta(description="Seconds for which the refresh token can be used.", examples=[604800])
    ]


class ServiceTokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request of a service for an access token (RFC 6749, 4.4.2)."""

    grant_type: Annotated[
        str, Meta(description="Always `client_credentials`.", examples=["client_credentials"], max_length=64)
    ] = ""
    scope: Annotated[
        str,
        Meta(
            max_length=4096,
            description="Scopes, separated by spaces; all scopes of the client if empty.",
            examples=["orders:read"],
        ),
    ] = ""


class ServiceToken(msgspec.Struct, frozen=True, kw_only=True):
    """Access token of a service (RFC 6749, 5.1)."""

    access_token: Annotated[str, Meta(examples=["eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.e30.c2ln"])]
    token_type: Annotated[
        Literal["Bearer", "DPoP"],
        Meta(description="`DPoP` if the request had a proof, to whose key the token is bound (RFC 9449)."),
    ] = "Bearer"  # noqa: S105  (the name of a scheme)
    expires_in: Annotated[int, Meta(description="Lifetime in seconds.", examples=[600])]
    scope: Annotated[str, Meta(description="Scopes of the token.", examples=["orders:read"])]


class JsonWebKeySet(msgspec.Struct, frozen=True, kw_only=True):
    """Public keys that verify access tokens (RFC 7517, 5)."""

    keys: Annotated[list[dict[str, str]], Meta(examples=[[_KEY]])]


class Revocations(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions that have ended while their access tokens are valid."""

    sessions: Annotated[
        Sequence[UUID],
        Meta(
            description="Values of the claim `sid`, sorted.",
            examples=[[SESSION_ID]],
        ),
    ]


class ProviderMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """Provider metadata (OpenID Connect Discovery 1.0, 3), as far as it applies."""

    issuer: Annotated[str, Meta(examples=["https://accounts.example.com"])]
    jwks_uri: Annotated[str, Meta(examples=["https://accounts.example.com/.well-known/jwks.json"])]
    token_endpoint: Annotated[str, Meta(examples=["https://accounts.example.com/api/auth/token"])]
    scopes_supported: Annotated[tuple[str, ...], Meta(examples=[["orders:read", "orders:write"]])]
    response_types_supported: Annotated[tuple[str, ...], Meta(examples=[["token"]])]
    subject_types_supported: Annotated[tuple[str, ...], Meta(examples=[["public"]])]
    id_token_signing_alg_values_supported: Annotated[tuple[str, ...], Meta(examples=[["EdDSA"]])]


def validated(field: str, validate: Callable[..., T], *values: str) -> T:
    """Return the result of a function of the values of a field.

    Raises:
        ValidationException: It has raised a `ValueError`, whose message is the reason.
    """
    try:
        return validate(*values)
    except ValueError as error:
        raise rejected(field, error) from error


def rejected(field: str, error: ValueError) -> ValidationException:
    """Return the error of a field."""
    message = str(error)
    extra = [{"key": field, "message": message, "source": "body"}]
    return ValidationException(f"`{field}` {message}", extra=extra)

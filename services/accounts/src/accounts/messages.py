"""What accounts reads and writes."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

_EMAIL = "ada@example.com"
_PASSWORD = "a wagon full of clocks"  # noqa: S105  (an example in the documentation)

Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=320,
        description="An email address of at most 254 characters; letter case does not tell two apart.",
        examples=[_EMAIL],
    ),
]
Password = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        description="8 to 128 characters after Unicode normalisation (NFKC), and not a common one.",
        examples=[_PASSWORD],
    ),
]


class SignUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One who wants to become a user."""

    email: Email
    password: Password


class Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who somebody says they are, and the proof."""

    email: Email
    password: Password


class PasswordChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another password, confirmed by the current one."""

    current_password: Password
    new_password: Annotated[Password, Meta(examples=["seven quiet lighthouses"])]


class Deactivation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The end of an account, confirmed by its password."""

    password: Password


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A user, as that user sees it."""

    id: Annotated[UUID, Meta(examples=["019aaf3e-9c3b-7c55-8d6a-3f1f5f0c1d2e"])]
    email: Annotated[str, Meta(examples=[_EMAIL])]
    created_at: Annotated[datetime, Meta(examples=["2026-01-31T12:00:00Z"])]


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a successful sign-in gives (RFC 6749, 5.1)."""

    access_token: Annotated[str, Meta(examples=["eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.e30.c2ln"])]
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  (the name of a scheme)
    expires_in: Annotated[int, Meta(description="Seconds from now.", examples=[3600])]


class JsonWebKeySet(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys that verify our tokens (RFC 7517, 5)."""

    keys: list[dict[str, str]]


class ProviderMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is (OpenID Connect Discovery 1.0, 3), as far as it applies to us."""

    issuer: Annotated[str, Meta(examples=["https://accounts.example.com"])]
    jwks_uri: Annotated[str, Meta(examples=["https://accounts.example.com/.well-known/jwks.json"])]
    token_endpoint: Annotated[str, Meta(examples=["https://accounts.example.com/api/auth/token"])]
    scopes_supported: tuple[str, ...]
    response_types_supported: tuple[str, ...]
    subject_types_supported: tuple[str, ...]
    id_token_signing_alg_values_supported: tuple[str, ...]

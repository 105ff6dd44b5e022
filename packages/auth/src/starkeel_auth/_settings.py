"""What the environment says about access tokens."""

from collections.abc import Iterator
from typing import Annotated, Self
from urllib.parse import urlsplit

from msgspec import Meta
from starkeel_config import Environment, Problem, Settings, Variable

# What may stand in a quoted string of a header without escaping: the audience names the challenges' realm.
Name = Meta(
    min_length=1,
    max_length=255,
    pattern=r"^[!#-\[\]-~]+$",
    description='1 to 255 ASCII characters without spaces, `"` and `\\`',
)


class HttpUrl(str):
    """An absolute `http` or `https` URL without credentials and fragment."""

    __slots__ = ()

    accepts = "an http:// or https:// URL without user, password and fragment"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check a text.

        Raises:
            ValueError: It is no such URL; the message never repeats credentials.
        """
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("has characters that no URL has")
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"}:
            raise ValueError("is neither http:// nor https://")
        if "@" in parts.netloc:
            raise ValueError("has a user or a password in it")
        # `port` raises ValueError when it is no port.
        if not parts.hostname or parts.port == 0:
            raise ValueError("has no host, or port 0")
        if parts.fragment:
            raise ValueError("has a fragment")
        return cls(text)


class IssuerSettings(Settings, frozen=True, kw_only=True):
    """Access tokens.

    All that the issuer itself needs, which verifies with its own keys. Others take `AuthSettings`.
    """

    issuer: Annotated[str, Variable("JWT_ISSUER", development="http://127.0.0.1:3000"), Name]
    """Who issues access tokens, `iss` in each: the issuer's public URL; compared exactly."""

    audience: Annotated[str, Variable("JWT_AUDIENCE", development="starkeel"), Name]
    """Whom access tokens are for, `aud` in each: the name that the services of one product share."""


class AuthSettings(IssuerSettings, frozen=True, kw_only=True):
    """Access tokens of another service."""

    jwks_url: Annotated[
        HttpUrl, Variable("JWT_JWKS_URL", development="http://127.0.0.1:3000/.well-known/jwks.json")
    ]
    """Where the issuer publishes the keys that verify its tokens."""

    jwks_timeout_s: Annotated[float, Variable("JWT_JWKS_TIMEOUT_SECONDS"), Meta(ge=0.1, le=30)] = 2.0
    """Seconds one fetch of the keys may take, from connecting to the last byte."""

    jwks_refresh_s: Annotated[float, Variable("JWT_JWKS_REFRESH_SECONDS"), Meta(ge=1, le=86_400)] = 300.0
    """Seconds between two fetches in the background; a withdrawn key is accepted this much longer."""

    jwks_max_age_s: Annotated[float, Variable("JWT_JWKS_MAX_AGE_SECONDS"), Meta(ge=1, le=604_800)] = 86_400.0
    """Seconds the keys last fetched are trusted while the issuer is away; then guarded routes answer 503."""

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Refuse keys that would be too old before they are fetched again."""
        del environment
        if self.jwks_max_age_s < 2 * self.jwks_refresh_s:
            yield Problem(
                "JWT_JWKS_MAX_AGE_SECONDS",
                f"is {self.jwks_max_age_s:g}, less than twice JWT_JWKS_REFRESH_SECONDS",
                f"at least {2 * self.jwks_refresh_s:g}",
            )

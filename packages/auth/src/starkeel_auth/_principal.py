"""Who asks."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The bearer of a good token.

    Args:
        subject: Who it is, `sub`: the issuer's name for the user.
        scopes: What the token allows.
        token: The token itself, to be passed on to an upstream in the user's name; in no repr.
        client_id: The client the token was issued to, when the issuer says so.
        expires_at: Seconds since 1970 after which the token opens nothing; long-lived connections end by it.
    """

    subject: str
    scopes: frozenset[str]
    token: str = field(repr=False)
    client_id: str | None = None
    expires_at: float

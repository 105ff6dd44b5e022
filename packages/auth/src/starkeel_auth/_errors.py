"""Why a token opens nothing."""


class AuthError(Exception):
    """Base of every error this package raises on purpose, but for Litestar's own."""


class TokenError(AuthError):
    """The token is not accepted; its text is fit for the caller and holds nothing of the token."""


class KeysUnavailableError(AuthError):
    """Nobody can tell whether a token is good: the issuer's keys were never fetched, or too long ago."""

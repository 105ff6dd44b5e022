"""Exceptions of this package."""


class AuthError(Exception):
    """Base class of this package's exceptions, except those of Litestar."""


class TokenError(AuthError):
    """The token is rejected. The message contains nothing of the token and may be returned to the caller."""


class ProofError(AuthError):
    """The proof of possession is rejected. The message contains nothing of it and may be returned."""


class KeysUnavailableError(AuthError):
    """Tokens cannot be verified: the issuer's keys were never fetched or are too old."""

"""Access tokens of a Litestar service: sign, publish keys, verify, guard."""

from ._errors import AuthError, KeysUnavailableError, TokenError
from ._guards import Guard, authenticated, requires_scope
from ._keys import SigningKeys, generate_private_key_pem
from ._plugin import AuthPlugin
from ._principal import Principal
from ._settings import AuthSettings, IssuerSettings
from ._verifier import Claims, KeySource, TokenVerifier

__all__ = [
    "AuthError",
    "AuthPlugin",
    "AuthSettings",
    "Claims",
    "Guard",
    "IssuerSettings",
    "KeySource",
    "KeysUnavailableError",
    "Principal",
    "SigningKeys",
    "TokenError",
    "TokenVerifier",
    "authenticated",
    "generate_private_key_pem",
    "requires_scope",
]

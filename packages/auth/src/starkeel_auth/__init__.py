"""Access tokens for Litestar services: signing, key publication, verification, guards.

Names are imported on first use: the main process of a service reads settings without importing Litestar.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._errors import AuthError, KeysUnavailableError, TokenError
    from ._plugin import AuthPlugin
    from ._requests.authenticator import Principal
    from ._requests.guards import Guard, authenticated, requires_scope
    from ._settings import AuthSettings, IssuerSettings
    from ._tokens.keys import SigningKeys, generate_private_key_pem
    from ._tokens.verifier import Claims, KeySource, TokenVerifier

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

_HOMES = {
    "AuthError": "_errors",
    "AuthPlugin": "_plugin",
    "AuthSettings": "_settings",
    "Claims": "_tokens.verifier",
    "Guard": "_requests.guards",
    "IssuerSettings": "_settings",
    "KeySource": "_tokens.verifier",
    "KeysUnavailableError": "_errors",
    "Principal": "_requests.authenticator",
    "SigningKeys": "_tokens.keys",
    "TokenError": "_errors",
    "TokenVerifier": "_tokens.verifier",
    "authenticated": "_requests.guards",
    "generate_private_key_pem": "_tokens.keys",
    "requires_scope": "_requests.guards",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value

"""Access tokens for Litestar services: signing, key publication, verification, guards.

Names are imported on first use: the main process of a service reads settings without importing Litestar.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._errors import AuthError, KeysUnavailableError, ProofError, TokenError
    from ._guards import Guard, Principal, authenticated, requires_scope
    from ._plugin import AuthPlugin
    from ._proofs import proven_key
    from ._settings import AuthSettings, IssuerSettings
    from ._tokens.dpop import ProofVerifier
    from ._tokens.keys import SigningKeys, generate_private_key_pem
    from ._tokens.verifier import Claims, KeySource, TokenVerifier
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_errors": ["AuthError", "KeysUnavailableError", "ProofError", "TokenError"],
            "_guards": ["Guard", "Principal", "authenticated", "requires_scope"],
            "_plugin": ["AuthPlugin"],
            "_proofs": ["proven_key"],
            "_settings": ["AuthSettings", "IssuerSettings"],
            "_tokens.dpop": ["ProofVerifier"],
            "_tokens.keys": ["SigningKeys", "generate_private_key_pem"],
            "_tokens.verifier": ["Claims", "KeySource", "TokenVerifier"],
        },
    )

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
    "ProofError",
    "ProofVerifier",
    "SigningKeys",
    "TokenError",
    "TokenVerifier",
    "authenticated",
    "generate_private_key_pem",
    "proven_key",
    "requires_scope",
]
